// What a page looks like to a reader: overflow, contrast of its texts, pictures without words, headings, headers of tables.
(() => {
  const parts = (colour) => {
    const found = colour.match(/[\d.]+/g).map(Number);
    return found.length > 3 ? found : [...found, 1];
  };
  const over = (top, ground) => [0, 1, 2].map((i) => top[i] * top[3] + ground[i] * (1 - top[3]));
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(parts(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const opacity = (element) => {
    let all = 1;
    for (let at = element; at; at = at.parentElement) all *= Number(getComputedStyle(at).opacity);
    return all;
  };
  for (const details of document.querySelectorAll("details")) details.open = true;
  const pale = [];
  let texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest("script, style") || !element.checkVisibility()) continue;
    texts += 1;
    const below = ground(element);
    const ink = parts(getComputedStyle(element).color);
    const [high, low] = [luminance(over([ink[0], ink[1], ink[2], ink[3] * opacity(element)], below)), luminance(below)].sort((a, b) => b - a);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < 4.5) pale.push(`${walker.currentNode.data.trim().slice(0, 40)}: ${contrast.toFixed(2)}`);
  }
  const inside = (element) => { const box = element.getBoundingClientRect(); return box.width === 0 || (box.left >= -0.5 && box.right <= innerWidth + 0.5); };
  const scrolled = (element) => { const box = element.closest(".wide"); return box && box.scrollWidth > box.clientWidth + 1 && box.querySelector(".badge, .contrasts"); };
  const shown = [...document.querySelectorAll("body *")].filter((element) => element.checkVisibility());
  const levels = [...document.querySelectorAll("h1, h2, h3, h4")].map((heading) => Number(heading.tagName[1]));
  return JSON.stringify({
    scroll_width: document.documentElement.scrollWidth,
    overflowing: shown.filter((element) => !element.closest(".wide") && !inside(element)).slice(0, 5).map((element) => element.outerHTML.slice(0, 90)),
    clipped_verdicts: shown.filter((element) => element.matches(".badge") && (!inside(element) || scrolled(element))).slice(0, 5).map((element) => element.parentElement.innerText),
    pale: [...new Set(pale)].slice(0, 10),
    texts,
    untold: [...document.images].filter((image) => !image.alt.trim()).length,
    broken: [...document.images].filter((image) => image.naturalWidth === 0).length,
    language: document.documentElement.lang,
    headings_skipped: levels[0] !== 1 || levels.filter((level) => level === 1).length !== 1 || levels.some((level, at) => at && level > levels[at - 1] + 1),
    headers_without_scope: [...document.querySelectorAll("th")].filter((heading) => !heading.scope).length,
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
  });
})()
