// Elements are made here. Text is always set as text, so that no data is ever read as HTML.

const SVG = 'http://www.w3.org/2000/svg';

/** Adds attributes and children: strings become text, null is left out. */
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : String(value));
  }
  for (const child of children.flat(3)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

function el(name, attributes, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function svg(name, attributes, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

/** A link if the address is one of the web, otherwise its text. */
function link(address, text) {
  let url = null;
  try {
    url = new URL(String(address));
  } catch (error) {
    url = null;
  }
  if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    return el('span', { class: 'address', dir: 'auto' }, text || address);
  }
  const shown = el('a', { href: url.href, rel: 'noopener noreferrer nofollow', target: '_blank', dir: 'auto' }, text || url.href);
  return el('span', null, shown, text ? el('span', { class: 'muted host' }, ' ' + url.hostname) : null);
}

/** A bar whose length is a share between 0 and 1. */
function bar(share, kind) {
  const inner = el('span', { class: 'bar-fill ' + (kind || '') });
  inner.style.setProperty('width', (Math.max(0, Math.min(1, share || 0)) * 100).toFixed(2) + '%');
  return el('span', { class: 'bar', 'aria-hidden': 'true' }, inner);
}

function shareCell(share, kind, text) {
  return el('div', { class: 'share-cell' }, bar(share, kind), el('span', { class: 'share-text' }, text));
}

function badge(text, kind, title) {
  return el('span', { class: 'badge ' + (kind || ''), title: title || null }, text);
}

/** A titled part of the page that the navigation names. */
function section(id, title, intro, ...content) {
  return el('section', { id: id, 'aria-labelledby': id + '-title' },
    el('h2', { id: id + '-title' }, title),
    intro ? el('p', { class: 'intro' }, intro) : null,
    content);
}

function card(title, note, ...content) {
  return el('div', { class: 'card' },
    title ? el('h3', null, title) : null,
    note ? el('p', { class: 'note' }, note) : null,
    content);
}

/** Buttons of which one is pressed; `show` makes the content of a choice. */
function choices(label, options, show) {
  const place = el('div', { class: 'chosen' });
  const buttons = options.map((option, index) => el('button', {
    type: 'button',
    'aria-pressed': index === 0 ? 'true' : 'false',
    onclick: () => choose(index),
  }, option.label));
  function choose(index) {
    buttons.forEach((button, at) => button.setAttribute('aria-pressed', at === index ? 'true' : 'false'));
    place.replaceChildren(...[show(options[index].key)].flat().filter(Boolean));
  }
  choose(0);
  const bar = options.length > 1 ? el('div', { class: 'choices', role: 'group', 'aria-label': label }, buttons) : null;
  return el('div', null, bar, place);
}

/** A table. A column is {title, number, cell(row), wide}. */
function table(columns, rows, caption) {
  const head = el('tr', null, columns.map((column) => el('th', { scope: 'col', class: column.number ? 'number' : null }, column.title)));
  const body = rows.map((row) => el('tr', null, columns.map((column, index) => {
    const cell = column.cell(row);
    const attributes = { class: [column.number ? 'number' : '', column.kind || ''].join(' ').trim() || null };
    if (index === 0) attributes.scope = 'row';
    return el(index === 0 ? 'th' : 'td', attributes, cell);
  })));
  return el('div', { class: 'scroll', tabindex: '0', role: 'group', 'aria-label': caption },
    el('table', { class: 'grid' }, el('caption', { class: 'unseen' }, caption), el('thead', null, head), el('tbody', null, body)));
}
