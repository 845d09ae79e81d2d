// The table of requests: search, filters, order, pages, and rows that open.

const PER_PAGE = 50;

/** A row of the data as an object. */
function rowOf(cells, users) {
  return {
    line: cells[0], id: cells[1], status: cells[2], failure: cells[3], user: users[cells[4]] || '', session: cells[5],
    completed: cells[6], ms: cells[7], cost: cells[8], input: cells[9], output: cells[10], calls: cells[11], marks: cells[12],
    detail: cells[13], name: cells[1] === null ? 'line ' + cells[0] : cells[1],
  };
}

const MARKS = [[1, 'fallback', 'A later route of the chain did a task.'], [2, 'degraded', 'An input is missing, such as a search.'], [4, 'to check', 'A rule is broken, or a fact has no source.']];

function requestTable(data, details) {
  const rows = data.rows.map((cells) => rowOf(cells, data.users));
  const state = { words: '', filter: 'all', order: 'line', down: false, page: 0, open: new Set() };
  let texts = null;
  let found = rows;

  /** The texts in which a search looks, made at the first search. */
  function haystacks() {
    if (texts === null) {
      texts = rows.map((row) => [row.name, row.status, row.failure, row.user, row.session, row.detail === null ? '' : gathered(details[row.detail])].join('\n').toLowerCase());
    }
    return texts;
  }

  const filters = [
    { key: 'all', label: 'All', fits: () => true },
    { key: 'bad', label: 'Failed', fits: (row) => row.status === 'failed' || row.status === 'partial' },
    { key: 'check', label: 'To check', fits: (row) => (row.marks & 4) !== 0 },
    { key: 'degraded', label: 'Degraded', fits: (row) => (row.marks & 2) !== 0 },
    { key: 'fallback', label: 'Fallback', fits: (row) => (row.marks & 1) !== 0 },
    { key: 'paused', label: 'Paused', fits: (row) => row.status === 'paused' || row.status === 'continued' },
  ].filter((filter, index) => index === 0 || rows.some(filter.fits));

  const columns = [
    { key: 'status', title: 'State', cell: (row) => badge(row.status, STATES[row.status]) },
    { key: 'name', title: 'Request', kind: 'name' },
    { key: 'marks', title: 'Notes', cell: (row) => [row.failure ? badge(row.failure.replaceAll('_', ' '), 'bad') : null, MARKS.filter(([bit]) => row.marks & bit).map(([, name, why]) => badge(name, 'warn', why))] },
    { key: 'user', title: 'User', kind: 'wide name', cell: (row) => row.user },
    { key: 'ms', title: 'Working time', number: true, cell: (row) => row.calls ? duration(row.ms) : '–' },
    { key: 'cost', title: 'Cost', number: true, cell: (row) => row.calls ? money(row.cost) : '–' },
    { key: 'output', title: 'Tokens out', number: true, kind: 'wide', cell: (row) => integer(row.output) },
    { key: 'completed', title: 'Finished (UTC)', kind: 'wide', number: true, cell: (row) => moment(row.completed, true) },
    { key: 'line', title: 'Line', number: true, kind: 'wide', cell: (row) => integer(row.line) },
  ];

  const body = el('tbody');
  const count = el('p', { class: 'muted', role: 'status' });
  const pager = el('div', { class: 'pager' });
  const search = el('input', { type: 'search', id: 'search', placeholder: 'Words of an id, a text, a class, a user …', autocomplete: 'off', spellcheck: 'false' });
  let timer = 0;
  search.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(() => { state.words = search.value; state.page = 0; find(); }, rows.length > 2000 ? 150 : 0);
  });
  const buttons = filters.map((filter) => el('button', { type: 'button', 'aria-pressed': filter.key === 'all' ? 'true' : 'false', 'data-filter': filter.key, onclick: () => { state.filter = filter.key; state.page = 0; find(); } },
    filter.label, el('span', { class: 'count' }, integer(rows.filter(filter.fits).length))));
  const heads = columns.map((column) => el('th', { scope: 'col', class: [column.number ? 'number' : '', column.kind || ''].join(' ').trim() || null, 'aria-sort': 'none' },
    el('button', { type: 'button', onclick: () => { state.down = state.order === column.key ? !state.down : Boolean(column.number) && column.key !== 'line'; state.order = column.key; state.page = 0; find(); } }, column.title)));

  function find() {
    const words = state.words.toLowerCase().split(/\s+/).filter(Boolean);
    const filter = filters.find((one) => one.key === state.filter) || filters[0];
    const hay = words.length ? haystacks() : null;
    found = rows.filter((row, index) => filter.fits(row) && (hay === null || words.every((word) => hay[index].includes(word))));
    const key = state.order;
    const sign = state.down ? -1 : 1;
    found.sort((a, b) => {
      const [one, other] = [a[key], b[key]];
      if (one === other) return a.line - b.line;
      if (one === null) return 1;
      if (other === null) return -1;
      return (one < other ? -1 : 1) * sign;
    });
    show();
  }

  function show() {
    buttons.forEach((button) => button.setAttribute('aria-pressed', button.getAttribute('data-filter') === state.filter ? 'true' : 'false'));
    heads.forEach((head, index) => head.setAttribute('aria-sort', columns[index].key === state.order ? (state.down ? 'descending' : 'ascending') : 'none'));
    const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
    state.page = Math.min(state.page, pages - 1);
    const from = state.page * PER_PAGE;
    const part = found.slice(from, from + PER_PAGE);
    count.textContent = found.length === 0 ? 'No request fits.' : found.length === rows.length ? counted(rows.length, 'request') + (part.length < found.length ? ', ' + integer(from + 1) + ' to ' + integer(from + part.length) : '') : integer(found.length) + ' of ' + counted(rows.length, 'request') + ' fit';
    body.replaceChildren(...part.flatMap(rowNodes));
    const go = (to) => { state.page = to; show(); };
    pager.replaceChildren(...(pages > 1 ? [
      el('button', { type: 'button', disabled: state.page === 0, onclick: () => go(state.page - 1) }, '← Previous'),
      el('span', { class: 'muted' }, 'Page ' + integer(state.page + 1) + ' of ' + integer(pages)),
      el('button', { type: 'button', disabled: state.page >= pages - 1, onclick: () => go(state.page + 1) }, 'Next →'),
    ] : []));
  }

  function rowNodes(row) {
    const inner = el('td', { colspan: columns.length });
    const more = el('tr', { class: 'opened', hidden: true }, inner);
    const button = el('button', { type: 'button', class: 'opener', 'aria-expanded': 'false', onclick: () => toggle(!state.open.has(row)) }, el('span', { class: 'arrow', 'aria-hidden': 'true' }, '▸'), el('span', { dir: 'auto' }, row.name));
    function toggle(open) {
      if (open) state.open.add(row);
      else state.open.delete(row);
      button.setAttribute('aria-expanded', open ? 'true' : 'false');
      more.hidden = !open;
      line.classList.toggle('is-open', open);
      if (open && inner.childNodes.length === 0) inner.append(row.detail === null ? detailless(row) : requestDetails(details[row.detail], row));
    }
    const line = el('tr', { class: 'request', 'data-id': row.name }, columns.map((column) => el('td', { class: [column.number ? 'number' : '', column.kind || ''].join(' ').trim() || null, 'data-label': column.number ? column.title : null }, column.key === 'name' ? button : column.cell(row))));
    line.addEventListener('click', (event) => {
      if (!event.target.closest('button, a') && !String(window.getSelection())) toggle(!state.open.has(row));
    });
    if (state.open.has(row)) toggle(true);
    return [line, more];
  }

  function detailless(row) {
    return el('p', { class: 'muted details' }, 'The details of this request are left out, because the page would be too large. ',
      row.id === null ? null : ['Read them with ', el('code', null, 'nova3 results --id ' + row.id), '.']);
  }

  function open(name) {
    search.value = name;
    state.words = name;
    state.filter = 'all';
    state.page = 0;
    const row = rows.find((one) => one.name === name);
    if (row) state.open.add(row);
    find();
    document.getElementById('requests').scrollIntoView();
  }

  find();
  const listed = rows.length < data.finished ? integer(rows.length) + ' of ' + counted(data.finished, 'finished request') + ' are listed: failures, requests to check, the slowest, the most expensive, and others spread evenly. All figures above are over all requests. ' : '';
  const detailed = data.detailed < rows.length ? integer(data.detailed) + ' of the listed requests open to their details; the page would be too large for all of them. ' : '';
  const hidden = data.hides_texts ? 'This page was made without texts.' : '';
  const intro = rows.length === 0 ? 'No request has finished yet.' : (listed + detailed + hidden).trim() || 'Each row opens to its queue, results and sources.';
  const content = rows.length === 0 ? null : el('div', { class: 'card table-card' },
    el('div', { class: 'tools' }, el('label', { for: 'search', class: 'unseen' }, 'Search the requests'), search, el('div', { class: 'choices', role: 'group', 'aria-label': 'Filter' }, buttons)),
    count,
    el('div', { class: 'scroll' }, el('table', { class: 'grid requests' }, el('caption', { class: 'unseen' }, 'Requests'), el('thead', null, el('tr', null, heads)), body)),
    pager);
  return { node: section('requests', 'Requests', intro, content), open: open };
}

/** All texts of a value, one a line. */
function gathered(value) {
  const list = [];
  const visit = (one) => {
    if (typeof one === 'string') list.push(one);
    else if (one !== null && typeof one === 'object') Object.values(one).forEach(visit);
  };
  visit(value);
  return list.join('\n');
}
