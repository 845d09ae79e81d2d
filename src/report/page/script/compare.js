// Two runs side by side.

/** The pieces of two texts: [kind, text], where kind is 0 (in both), -1 (only in the first) or 1 (only in the second). */
function difference(first, second) {
  const cut = (text) => text.match(/[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]|[\p{L}\p{N}_]+|\s+|[^\s]/gu) || [];
  const [a, b] = [cut(first), cut(second)];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const [x, y] = [a.slice(start, a.length - end), b.slice(start, b.length - end)];
  const pieces = [];
  const add = (kind, text) => {
    if (!text) return;
    const last = pieces[pieces.length - 1];
    if (last && last[0] === kind) last[1] += text;
    else pieces.push([kind, text]);
  };
  add(0, a.slice(0, start).join(''));
  // The table of common parts grows with the product of the lengths.
  if (x.length * y.length > 2000000) {
    add(-1, x.join(''));
    add(1, y.join(''));
  } else {
    const width = y.length + 1;
    const common = new Uint16Array((x.length + 1) * width);
    for (let i = x.length - 1; i >= 0; i -= 1) {
      for (let j = y.length - 1; j >= 0; j -= 1) {
        common[i * width + j] = x[i] === y[j] ? common[(i + 1) * width + j + 1] + 1 : Math.max(common[(i + 1) * width + j], common[i * width + j + 1]);
      }
    }
    let [i, j] = [0, 0];
    while (i < x.length || j < y.length) {
      if (i < x.length && j < y.length && x[i] === y[j]) { add(0, x[i]); i += 1; j += 1; }
      else if (j >= y.length || (i < x.length && common[(i + 1) * width + j] >= common[i * width + j + 1])) { add(-1, x[i]); i += 1; }
      else { add(1, y[j]); j += 1; }
    }
  }
  add(0, a.slice(a.length - end).join(''));
  return pieces;
}

function sideBySide(texts, names) {
  const [first, second] = texts;
  const pieces = first !== null && second !== null ? difference(first, second) : null;
  const side = (index, kind, mark) => el('div', { class: 'side' },
    el('h4', { dir: 'auto' }, names[index]),
    texts[index] === null ? el('p', { class: 'muted' }, 'This run does not have the request.')
      : texts[index] === '' ? el('p', { class: 'muted' }, 'Without a text.')
        : el('div', { class: 'prose', dir: 'auto' }, pieces ? pieces.filter((piece) => piece[0] === 0 || piece[0] === kind).map((piece) => piece[0] === 0 ? piece[1] : el(mark, null, piece[1])) : texts[index]));
  return el('div', { class: 'pair sides' }, side(0, -1, 'del'), side(1, 1, 'ins'));
}

/** The difference of two figures; `better` is -1 if less is better. */
function change(one, other, format, better) {
  if (one === null || other === null || one === undefined || other === undefined) return '–';
  const by = other - one;
  if (Math.abs(by) < 1e-12) return el('span', { class: 'muted' }, 'equal');
  const share = one ? ' (' + (by > 0 ? '+' : '−') + Math.abs(by / one * 100).toFixed(1) + ' %)' : '';
  const kind = !better ? '' : (by < 0) === (better < 0) ? 'better' : 'worse';
  return el('span', { class: kind }, (by > 0 ? '+' : '−') + format(Math.abs(by)) + share, kind ? el('span', { class: 'unseen' }, ', ' + kind) : null);
}

function comparedFigures(data, names) {
  const [a, b] = data.runs;
  const took = (run) => run.span ? run.span[1] - run.span[0] : null;
  const each = (run) => run.sums.cost !== null && run.counts.done + run.counts.failed > 0 ? run.sums.cost / (run.counts.done + run.counts.failed) : null;
  const decimal = (n) => n === null ? '–' : String(Math.round(n * 1000) / 1000);
  const rows = [
    ['Requests done', (run) => run.counts.done - run.counts.partial, integer, 1],
    ['Failed, or done in part', (run) => run.counts.failed + run.counts.partial, integer, -1],
    ['Left', (run) => run.counts.left, integer, -1],
    ['Cost', (run) => run.sums.cost, money, -1],
    ['Cost per request done or failed', each, money, -1],
    ['Spent without use', (run) => run.sums.wasted, money, -1],
    ['Tokens in', (run) => run.sums.input, integer, 0],
    ['Tokens out', (run) => run.sums.output, integer, 0],
    ['Calls', (run) => run.sums.calls, integer, 0],
    ['Failed calls', (run) => run.sums.failed_calls, integer, -1],
    ['From first to last call', took, duration, -1],
    ['Working time of a request, p50', (run) => run.request_ms ? run.request_ms.p50 : null, duration, -1],
    ['Working time of a request, p95', (run) => run.request_ms ? run.request_ms.p95 : null, duration, -1],
    ['Findings to check', (run) => run.findings, integer, -1],
  ];
  if (a.scored || b.scored) rows.push(['Score (mean)', (run) => run.score, decimal, 1]);
  return card(null, null, table([
    { title: '', kind: 'name', cell: (row) => row[0] },
    { title: names[0], number: true, cell: (row) => row[1](a) === null ? '–' : row[2](row[1](a)) },
    { title: names[1], number: true, cell: (row) => row[1](b) === null ? '–' : row[2](row[1](b)) },
    { title: 'difference', number: true, kind: 'wraps', cell: (row) => change(row[1](a), row[1](b), row[2], row[3]) },
  ], rows, 'The two runs'));
}

function comparedRequests(data, details, names) {
  const scored = data.runs.some((run) => run.scored);
  const rows = data.rows.map((cells, index) => ({ name: cells[0], by: cells[1], changed: cells[2], one: cells[3], other: cells[4], texts: cells[5] ? details[index] : null }));
  const state = { words: '', only: data.changed > 0, page: 0 };
  const body = el('tbody');
  const count = el('p', { class: 'muted', role: 'status' });
  const pager = el('div', { class: 'pager' });
  const search = el('input', { type: 'search', id: 'search', placeholder: 'Words of an id or a text …', autocomplete: 'off' });
  search.addEventListener('input', () => { state.words = search.value; state.page = 0; show(); });
  const filters = [['Changed only', true, rows.filter((row) => row.changed).length], ['All', false, rows.length]];
  const buttons = filters.map(([name, only, amount]) => el('button', { type: 'button', 'data-only': String(only), onclick: () => { state.only = only; state.page = 0; show(); } }, name, el('span', { class: 'count' }, integer(amount))));
  const pairOf = (row, cell) => [row.one ? cell(row.one) : '–', el('span', { class: 'muted' }, ' → '), row.other ? cell(row.other) : '–'];
  const columns = [
    { title: 'Request', kind: 'name' },
    { title: 'State', cell: (row) => pairOf(row, (side) => badge(side[1] ? side[1].replaceAll('_', ' ') : side[0], STATES[side[0]])) },
    { title: 'Text', cell: (row) => row.one && row.other ? (row.changed ? badge('changed', 'warn') : badge('equal', '')) : badge('only in one run', 'warn') },
    { title: 'Cost', number: true, kind: 'wide', cell: (row) => pairOf(row, (side) => money(side[3])) },
    { title: 'Working time', number: true, kind: 'wide', cell: (row) => pairOf(row, (side) => duration(side[2])) },
    scored ? { title: 'Score', number: true, cell: (row) => pairOf(row, (side) => side[5] === null ? '–' : String(Math.round(side[5] * 100) / 100)) } : { title: 'To check', number: true, cell: (row) => pairOf(row, (side) => integer(side[4])) },
    { title: 'Same by', kind: 'wide', cell: (row) => ({ id: 'custom_id', content: 'content', place: 'line', alone: '–' }[row.by]) },
  ];
  function show() {
    const words = state.words.toLowerCase().split(/\s+/).filter(Boolean);
    const found = rows.filter((row) => (!state.only || row.changed) && words.every((word) => (row.name + '\n' + (row.texts || []).join('\n')).toLowerCase().includes(word)));
    const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
    const part = found.slice(state.page * PER_PAGE, state.page * PER_PAGE + PER_PAGE);
    buttons.forEach((button) => button.setAttribute('aria-pressed', button.getAttribute('data-only') === String(state.only) ? 'true' : 'false'));
    count.textContent = found.length ? counted(found.length, 'request') : 'No request fits.';
    body.replaceChildren(...part.flatMap(nodes));
    pager.replaceChildren(...(pages > 1 ? [
      el('button', { type: 'button', disabled: state.page === 0, onclick: () => { state.page -= 1; show(); } }, '← Previous'),
      el('span', { class: 'muted' }, 'Page ' + integer(state.page + 1) + ' of ' + integer(pages)),
      el('button', { type: 'button', disabled: state.page >= pages - 1, onclick: () => { state.page += 1; show(); } }, 'Next →'),
    ] : []));
  }
  function nodes(row) {
    const inner = el('td', { colspan: columns.length });
    const more = el('tr', { class: 'opened', hidden: true }, inner);
    const button = el('button', { type: 'button', class: 'opener', 'aria-expanded': 'false', onclick: () => {
      more.hidden = !more.hidden;
      button.setAttribute('aria-expanded', more.hidden ? 'false' : 'true');
      line.classList.toggle('is-open', !more.hidden);
      if (inner.childNodes.length === 0) inner.append(row.texts ? sideBySide(row.texts, names) : el('p', { class: 'muted details' }, data.hides_texts ? 'This page was made without texts.' : 'The texts of this request are left out, because the page would be too large.'));
    } }, el('span', { class: 'arrow', 'aria-hidden': 'true' }, '▸'), el('span', { dir: 'auto' }, row.name));
    const line = el('tr', { class: 'request', 'data-id': row.name }, columns.map((column, index) => el('td', { class: [column.number ? 'number' : '', column.kind || ''].join(' ').trim() || null, 'data-label': column.number ? column.title : null }, index === 0 ? button : column.cell(row))));
    return [line, more];
  }
  show();
  return el('div', { class: 'card table-card' },
    el('div', { class: 'tools' }, el('label', { for: 'search', class: 'unseen' }, 'Search the requests'), search, el('div', { class: 'choices', role: 'group', 'aria-label': 'Filter' }, buttons)),
    count,
    el('div', { class: 'scroll' }, el('table', { class: 'grid requests' }, el('caption', { class: 'unseen' }, 'Requests of both runs'), el('thead', null, el('tr', null, columns.map((column) => el('th', { scope: 'col', class: [column.number ? 'number' : '', column.kind || ''].join(' ').trim() || null }, column.title)))), body)),
    pager);
}

function comparison(data, details) {
  const names = data.runs.map((run) => run.run.name);
  const joined = data.joined;
  const both = data.pairs - joined.alone;
  const ways = [[joined.id, 'by their custom_id'], [joined.content, 'by their content'], [joined.place, 'by their line']].filter(([count]) => count > 0).map(([count, how]) => integer(count) + ' ' + how);
  const how = (ways.length ? 'Requests are matched: ' + ways.join(', ') + '. ' : '');
  const listed = data.rows.length < data.pairs ? integer(data.rows.length) + ' of ' + integer(data.pairs) + ' are listed, changed ones first. All figures are over all requests.' : '';
  return [
    section('headline', 'The two runs', both === 0 ? 'The runs have no request in common.' : integer(data.changed - joined.alone) + ' of ' + counted(both, 'request') + ' that both runs have ' + (both === 1 ? 'differs' : 'differ') + ' in state or text.' + (joined.alone ? ' ' + integer(joined.alone) + (joined.alone === 1 ? ' is' : ' are') + ' in one run only.' : ''), comparedFigures(data, names)),
    section('requests', 'Requests', how + listed, comparedRequests(data, details, names)),
  ];
}
