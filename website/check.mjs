// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Checks the site that was built: each link leads to a page or a file of it, and to an anchor there; each page is on a
// shelf; links to files of the repository lead to files.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { REPOSITORY } from './.vitepress/repository.mjs';
import { sidebar } from './.vitepress/sidebar.mjs';

const SITE = '.vitepress/dist';

const names = readdirSync(SITE, { recursive: true }).filter((name) => name.endsWith('.html') && name !== '404.html');
const pages = new Map(names.map((name) => [`/${name}`, readFileSync(join(SITE, name), 'utf8')]));
const anchors = new Map([...pages].map(([name, html]) => [name, new Set(all(html, / id="([^"]+)"/g))]));
const faults = [];
let links = 0;

for (const [name, html] of pages) {
  for (const target of all(html, /<a [^>]*?href="([^"]+)"/g).map(unescape)) {
    links++;
    const fault = follow(name, target);
    if (fault) faults.push(`${name}: ${target}: ${fault}`);
  }
}
const shelved = new Set(sidebar.flatMap(({ items }) => items.map(({ link }) => fileOf(link))));
for (const name of pages.keys()) if (!shelved.has(name)) faults.push(`${name} is on no shelf: add it to sidebar.mjs`);
for (const name of shelved) if (!pages.has(name)) faults.push(`sidebar.mjs names ${name}, which is no page`);
if (pages.size < 20 || links < 500) faults.push(`${pages.size} pages with ${links} links: the site has more`);
for (const fault of faults) console.error(fault);
console.log(`${pages.size} pages, ${links} links, ${faults.length} faults`);
process.exitCode = faults.length === 0 ? 0 : 1;

function all(text, pattern) {
  return [...text.matchAll(pattern)].map(([, found]) => found);
}

function unescape(text) {
  return text.replaceAll('&amp;', '&');
}

function fileOf(link) {
  if (link.endsWith('/')) return `${link}index.html`;
  return posix.extname(link) === '' ? `${link}.html` : link;
}

function follow(page, target) {
  if (target.startsWith(REPOSITORY)) {
    const [file] = target.slice(REPOSITORY.length).split('#');
    return existsSync(join('..', file)) ? '' : 'the repository has no such file';
  }
  if (/^[a-z]+:/.test(target)) return '';
  const [path, anchor] = target.split('#');
  const file = path === '' ? page : fileOf(posix.join(path.startsWith('/') ? '/' : posix.dirname(page), path));
  if (!pages.has(file)) return existsSync(join(SITE, file)) ? '' : 'there is no such page';
  return anchor && !anchors.get(file).has(decodeURIComponent(anchor)) ? 'the page has no such heading' : '';
}
