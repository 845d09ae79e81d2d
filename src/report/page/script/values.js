// Values of requests and results: posts, facts, other items, and any JSON.

const READABLE = { query: 'Query', content: 'Content', title: 'Title', input: 'Instruction' };

function nameOf(key) {
  return READABLE[key] || key.replaceAll('_', ' ');
}

function isEmpty(value) {
  return value === null || value === undefined || value === '' || (Array.isArray(value) && value.length === 0) || (typeof value === 'object' && Object.keys(value).length === 0);
}

/** Any JSON as text, lists and named fields. */
function shown(value, level) {
  if (value === null || value === undefined) return el('span', { class: 'muted' }, 'none');
  if (typeof value === 'string') return el('div', { class: 'prose', dir: 'auto' }, value);
  if (typeof value !== 'object') return el('span', null, String(value));
  if ((level || 0) > 8) return el('div', { class: 'prose' }, JSON.stringify(value));
  if (Array.isArray(value)) {
    if (value.every((entry) => typeof entry !== 'object' && String(entry).length < 40)) {
      return el('div', { class: 'chips' }, value.map((entry) => el('span', { class: 'chip', dir: 'auto' }, String(entry))));
    }
    return el('ol', { class: 'values' }, value.map((entry) => el('li', null, shown(entry, (level || 0) + 1))));
  }
  return fields(value, Object.keys(value), level);
}

function fields(object, keys, level) {
  const rows = keys.filter((key) => !isEmpty(object[key]));
  if (rows.length === 0) return null;
  return el('dl', { class: 'fields' }, rows.map((key) => [
    el('dt', null, el('span', { dir: 'auto' }, nameOf(key))),
    el('dd', null, shown(object[key], (level || 0) + 1)),
  ]));
}

function others(item, known) {
  return fields(item, Object.keys(item).filter((key) => !known.includes(key)));
}

function restsOn(item) {
  if (!Array.isArray(item.basis) || item.basis.length === 0) return null;
  return el('p', { class: 'basis' }, 'Rests on ', item.basis.map((name) => el('span', { class: 'chip' }, String(name))));
}

function textOf(value) {
  return typeof value === 'string' ? value : isEmpty(value) ? '' : JSON.stringify(value);
}

/** A post as its readers see it. */
function post(item, author) {
  const tags = Array.isArray(item.tags) ? item.tags.map((tag) => '#' + textOf(tag).replace(/^[#＃\s]+/, '')) : [];
  const cover = textOf(item.cover) || textOf(item.cover_text) || textOf(item.image) || textOf(item.title);
  const pictures = ['images', 'pictures', 'image_descriptions'].flatMap((key) => Array.isArray(item[key]) ? item[key] : []);
  const known = ['id', 'title', 'content', 'tags', 'cover', 'cover_text', 'basis', 'images', 'pictures', 'image_descriptions'];
  const length = Array.from(textOf(item.content)).length;
  return el('article', { class: 'post-wrap' },
    el('div', { class: 'phone', lang: 'zh' },
      el('div', { class: 'phone-head' }, el('span', { class: 'avatar', 'aria-hidden': 'true' }, Array.from(author || '小')[0]), el('span', { class: 'author', dir: 'auto' }, author || 'Preview'), el('span', { class: 'follow', 'aria-hidden': 'true' }, '关注')),
      el('div', { class: 'cover' }, el('span', { dir: 'auto' }, cover)),
      el('div', { class: 'post-body' },
        el('h5', { dir: 'auto' }, textOf(item.title) || 'Without a title'),
        el('p', { class: 'post-text', dir: 'auto' }, textOf(item.content)),
        tags.length ? el('p', { class: 'tags', dir: 'auto' }, tags.map((tag) => el('span', null, tag))) : null)),
    el('div', { class: 'post-side' },
      el('p', { class: 'item-id' }, badge(textOf(item.id), ''), el('span', { class: 'muted' }, counted(length, 'character') + ', ' + counted(tags.length, 'tag'))),
      textOf(item.cover) ? el('p', null, el('b', null, 'Cover: '), el('span', { dir: 'auto' }, textOf(item.cover))) : null,
      pictures.length ? [el('b', null, 'Pictures'), shown(pictures)] : null,
      restsOn(item),
      others(item, known)));
}

/** A fact with its source and its quote. */
function fact(item) {
  const source = item.url ? link(item.url, textOf(item.source_title) || textOf(item.url)) : textOf(item.source_title) || textOf(item.source);
  return el('article', { class: 'item fact ' + (item.sourced === true ? 'sourced' : 'unsourced') },
    el('p', { class: 'item-id' }, badge(textOf(item.id), ''), item.sourced === true ? badge('✓ has a source', 'good') : badge('✗ no source', 'bad')),
    el('p', { class: 'prose', dir: 'auto' }, textOf(item.content)),
    item.quote ? el('blockquote', { dir: 'auto' }, textOf(item.quote)) : null,
    source ? el('p', { class: 'source' }, 'Source: ', source) : null,
    item.sourced === true ? null : el('p', { class: 'muted', dir: 'auto' }, textOf(item.unproven) || 'It names none.'),
    others(item, ['id', 'content', 'sourced', 'source', 'source_title', 'url', 'quote', 'unproven']));
}

function item(value, author) {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return el('div', { class: 'item' }, shown(value));
  const id = textOf(value.id);
  if (id.startsWith('xhs_post') || (id.includes('post') && value.tags && value.content)) return post(value, author);
  if (typeof value.sourced === 'boolean') return fact(value);
  return el('article', { class: 'item' },
    el('p', { class: 'item-id' }, id ? badge(id, '') : null, value.title ? el('b', { dir: 'auto' }, textOf(value.title)) : null),
    isEmpty(value.content) ? null : shown(value.content),
    restsOn(value),
    others(value, ['id', 'title', 'content', 'basis']));
}
