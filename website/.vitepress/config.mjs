// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// The pages of the repository as a site. They are written for readers of the repository, so links lead to files. A link
// to a file that is no page leads to the repository.

import { copyFile } from 'node:fs/promises';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitepress';
import { REPOSITORY } from './repository.mjs';
import { sidebar } from './sidebar.mjs';

const fileOf = (name) => fileURLToPath(import.meta.resolve(name));

export default defineConfig({
  title: 'Cachewright',
  description: 'The policy of an application cache as a Kubernetes resource, and invalidation that is precise',
  lang: 'en-GB',
  srcDir: '..',
  srcExclude: ['.github/**', 'website/**', 'hack/**', 'dist/**', 'bin/**', '**/testdata/**'],
  base: process.env.SITE_BASE ?? '/',
  cleanUrls: false,
  metaChunk: true,
  rewrites: { 'README.md': 'index.md', 'docs/README.md': 'docs/index.md', 'examples/node/README.md': 'examples/node/index.md', 'charts/cachewright/README.md': 'charts/cachewright/index.md' },
  // Bundling it would take most of the time of a build.
  buildEnd: ({ outDir }) => copyFile(fileOf('mermaid/dist/mermaid.min.js'), `${outDir}/mermaid.min.js`),
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    nav: [
      { text: 'Documentation', link: '/docs/' },
      { text: 'Changes', link: '/CHANGELOG' },
      { text: 'Repository', link: 'https://github.com/cachewright/cachewright' },
    ],
    sidebar,
  },
  vite: {
    // Pages are outside of the folder whose packages they need.
    resolve: {
      alias: [
        { find: /^vue\/server-renderer$/, replacement: fileOf('vue/server-renderer') },
        { find: /^vue$/, replacement: fileOf('vue/dist/vue.runtime.esm-bundler.js') },
      ],
    },
    build: { chunkSizeWarningLimit: 2000 },
  },
  markdown: {
    languageAlias: { conf: 'ini', redis: 'shell' },
    html: false, // pages are plain Markdown, as the repository shows it
    attrs: { disable: true },
    anchor: { slugify: anchorOf },
    config: (markdown) => {
      markdown.core.ruler.push('links to files', (state) => linkFiles(state));
      const fence = markdown.renderer.rules.fence;
      markdown.renderer.rules.fence = (tokens, i, ...rest) =>
        tokens[i].info.trim() === 'mermaid' ? picture(markdown, tokens[i].content) : fence(tokens, i, ...rest);
    },
  },
});

// anchorOf makes the anchors of headings that the repository shows, which the links of pages use.
function anchorOf(heading) {
  return heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}_\- ]/gu, '')
    .replaceAll(' ', '-');
}

const picture = (markdown, source) => `<pre class="mermaid" v-pre>${markdown.utils.escapeHtml(source)}</pre>`;

// linkFiles lets links to what is no page of the site lead to the repository.
function linkFiles({ tokens, env }) {
  const page = env.realPath ?? env.path;
  const folder = posix.dirname(posix.relative(posix.resolve('..'), page));
  for (const { children } of tokens) {
    for (const token of children ?? []) {
      const target = token.type === 'link_open' && token.attrGet('href');
      if (!target || /^(?:[a-z]+:|#)/.test(target)) continue;
      const isPage = /\.md(?:#|$)/.test(target);
      token.attrSet('href', isPage ? target.replace('README.md', 'index.md') : REPOSITORY + posix.join(folder, target));
    }
  }
}
