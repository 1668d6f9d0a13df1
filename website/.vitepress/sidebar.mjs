// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// The four shelves, in the order of docs/README.md. check.mjs fails if a page is on none of them.
export const sidebar = [
  {
    text: 'Tutorials',
    items: [
      { text: 'Begin', link: '/' },
      { text: 'Cache a Go service', link: '/docs/tutorials/go' },
      { text: 'Cache a NestJS service', link: '/docs/tutorials/nestjs' },
    ],
  },
  {
    text: 'How-to',
    items: [
      { text: 'Install, upgrade, uninstall', link: '/docs/install' },
      { text: 'Install with Helm', link: '/docs/how-to/helm' },
      { text: 'Patterns', link: '/docs/how-to/patterns' },
      { text: 'Migrate', link: '/docs/how-to/migration' },
      { text: 'Redis for production', link: '/docs/how-to/redis' },
      { text: 'What the API server means', link: '/docs/how-to/refusals' },
      { text: 'GitOps', link: '/docs/gitops' },
      { text: 'Operations', link: '/docs/operations' },
      { text: 'Applications', link: '/docs/applications' },
      { text: 'Databases', link: '/docs/database' },
      { text: 'Write a client', link: '/docs/clients' },
      { text: 'Node', link: '/examples/node/' },
    ],
  },
  {
    text: 'Concepts',
    items: [
      { text: 'Architecture', link: '/docs/architecture' },
      { text: 'Benchmarks', link: '/docs/benchmarks' },
      { text: 'Security', link: '/SECURITY' },
    ],
  },
  {
    text: 'Reference',
    items: [
      { text: 'CachePolicy', link: '/docs/cachepolicy' },
      { text: 'CacheInvalidation', link: '/docs/cacheinvalidation' },
      { text: 'CacheStore', link: '/docs/cachestore' },
      { text: 'Operator', link: '/docs/operator' },
      { text: 'Helm chart', link: '/charts/cachewright/' },
      { text: 'Protocol', link: '/docs/protocol' },
      { text: 'Versions', link: '/docs/versions' },
      { text: 'Changes', link: '/CHANGELOG' },
    ],
  },
  {
    text: 'The project',
    items: [
      { text: 'All pages', link: '/docs/' },
      { text: 'Contribute', link: '/CONTRIBUTING' },
      { text: 'Releasing', link: '/docs/releasing' },
      { text: 'Governance', link: '/GOVERNANCE' },
      { text: 'Roadmap', link: '/docs/roadmap' },
      { text: 'Code of conduct', link: '/CODE_OF_CONDUCT' },
    ],
  },
];
