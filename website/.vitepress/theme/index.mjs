// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// The default theme, which also draws the pictures of a page.

import { useData, useRoute, withBase } from 'vitepress';
import DefaultTheme from 'vitepress/theme';
import { nextTick, onMounted, watch } from 'vue';

export default {
  extends: DefaultTheme,
  setup() {
    const { isDark } = useData();
    const route = useRoute();
    onMounted(() => draw(isDark.value));
    watch(() => route.path, () => nextTick(() => draw(isDark.value)));
  },
};

async function draw(isDark) {
  const pictures = document.querySelectorAll('pre.mermaid:not([data-processed])');
  if (pictures.length === 0) return;
  const mermaid = await loadMermaid();
  mermaid.initialize({ startOnLoad: false, theme: isDark ? 'dark' : 'neutral' });
  await mermaid.run({ nodes: pictures });
}

// loadMermaid loads it once, and only where there is something to draw.
function loadMermaid() {
  loadMermaid.loaded ??= new Promise((resolve, reject) => {
    const script = document.createElement('script');
    script.src = withBase('/mermaid.min.js');
    script.onload = () => resolve(window.mermaid);
    script.onerror = () => reject(new Error('mermaid.min.js cannot be loaded'));
    document.head.append(script);
  });
  return loadMermaid.loaded;
}
