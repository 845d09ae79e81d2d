// The details of one request: what was asked, its queue, the results, the searches and their sources.

const STATES = { completed: 'good', partial: 'warn', failed: 'bad', paused: 'warn', continued: '', skipped: '', pending: '' };

function asked(request) {
  if (!request) return null;
  if (request.hidden) return null;
  if (request.body) {
    const messages = Array.isArray(request.body.messages) ? request.body.messages : null;
    return el('div', { class: 'block' }, el('h4', null, 'The request'),
      messages ? messages.map((message) => el('div', { class: 'message' }, el('span', { class: 'role' }, textOf(message && message.role)), shown(message && message.content))) : shown(request.body));
  }
  const rest = fields(request, Object.keys(request).filter((key) => !['query', 'auto', 'interaction', 'tasks'].includes(key)));
  return el('div', { class: 'block' }, el('h4', null, 'The request'),
    request.query ? el('p', { class: 'query prose', dir: 'auto' }, textOf(request.query)) : el('p', { class: 'muted' }, 'It has no query.'),
    rest ? el('details', { class: 'more' }, el('summary', null, 'Background and material of the request'), rest) : null);
}

function failed(failure) {
  if (!failure) return null;
  const place = [failure.task, failure.route, failure.status ? 'status ' + failure.status : null, failure.line ? 'line ' + failure.line : null].filter(Boolean).join(' · ');
  return el('div', { class: 'block alert', role: 'note' },
    el('h4', null, badge(failure.class.replaceAll('_', ' '), 'bad'), el('span', { class: 'muted' }, ' ' + place)),
    failure.message ? el('p', { class: 'prose', dir: 'auto' }, failure.message) : null,
    el('p', { class: 'advice' }, el('b', null, 'Next step: '), failure.advice),
    failure.causes && failure.causes.length ? el('details', { class: 'more' }, el('summary', null, 'Earlier causes'), el('ol', { class: 'values' }, failure.causes.map((cause) => el('li', { dir: 'auto' }, cause)))) : null);
}

function searched(search) {
  if (!search) return null;
  const queries = search.queries.map((query) => el('li', null,
    query.query ? el('span', { dir: 'auto' }, '“' + query.query + '” ') : null,
    badge(query.looked_up ? (query.found_by || query.provider || 'found') : 'not looked up', query.looked_up ? '' : 'warn'),
    query.age_s !== null && query.age_s !== undefined ? el('span', { class: 'muted' }, ' from the cache, ' + duration(query.age_s * 1000) + ' old') : null,
    query.failures.map((failure) => el('div', { class: 'muted' }, failure.link + ': ' + failure.kind.replaceAll('_', ' ') + (failure.message ? ', ' + failure.message : '')))));
  const sources = search.sources.map((source) => el('li', null,
    badge(source.id, ''), ' ',
    source.url ? link(source.url, source.title || source.url) : el('span', { dir: 'auto' }, source.title || ''),
    el('span', { class: 'muted' }, ' · ' + source.provider + (source.published ? ' · ' + source.published : '') + (source.looked_up ? '' : ' · not looked up'))));
  return el('details', { class: 'more', open: search.degraded ? true : null },
    el('summary', null, 'Search: ' + counted(search.queries.length, 'query', 'queries') + ', ' + counted(search.sources.length, 'source') + ' ', search.degraded ? badge('degraded', 'warn') : null),
    search.error ? el('p', { class: 'quote', dir: 'auto' }, search.error) : null,
    queries.length ? el('ul', { class: 'plain' }, queries) : null,
    sources.length ? [el('h5', null, 'Sources'), el('ul', { class: 'plain sources' }, sources)] : null,
    search.more_sources ? el('p', { class: 'muted' }, counted(search.more_sources, 'more source') + ' in the store.') : null);
}

function step(task, author) {
  const facts = [
    task.route ? task.route + (task.model && task.model !== task.route ? ' · ' + task.model : '') : null,
    task.ms !== undefined && task.attempts > 0 ? duration(task.ms) : null,
    task.first_ms ? 'first token ' + duration(task.first_ms) : null,
    task.attempts > 1 ? counted(task.attempts, 'call') : null,
    task.input_tokens || task.output_tokens ? integer(task.input_tokens) + ' in, ' + integer(task.output_tokens) + ' out' : null,
    task.cost !== null && task.cost !== undefined ? money(task.cost) : null,
  ].filter(Boolean).join(' · ');
  const items = Array.isArray(task.items) ? task.items : isEmpty(task.items) ? [] : [task.items];
  const posts = items.length && items.every((one) => one && textOf(one.id).startsWith('xhs_post'));
  return el('li', { class: 'step ' + (STATES[task.status] || 'none') },
    el('div', { class: 'step-head' },
      el('b', null, task.action.replaceAll('_', ' ')), ' ', badge(task.status, STATES[task.status]),
      task.degraded ? badge('degraded', 'warn', 'An input is missing that the task should have had.') : null,
      task.fallback ? badge('fallback from ' + task.fallback.from, 'warn') : null,
      el('span', { class: 'muted step-id' }, task.id)),
    facts ? el('p', { class: 'muted facts' }, facts) : null,
    task.input ? el('p', { class: 'instruction' }, el('span', { class: 'muted' }, 'Instruction: '), el('span', { dir: 'auto' }, task.input)) : null,
    task.fallback && task.fallback.reason ? el('p', { class: 'quote', dir: 'auto' }, 'Why another route: ' + task.fallback.reason) : null,
    task.warnings && task.warnings.length ? el('ul', { class: 'warnings' }, task.warnings.map((warning) => el('li', { dir: 'auto' }, warning))) : null,
    searched(task.search),
    task.parts && task.parts.length ? parts(task.parts) : null,
    items.length ? el('div', { class: posts ? 'posts' : 'items' }, items.map((one) => item(one, author))) : null,
    task.ids && task.ids.length ? el('p', null, 'Results: ', task.ids.map((id) => badge(id, ''))) : null,
    task.response ? el('div', { class: 'item' }, shown(task.response)) : null);
}

function parts(list) {
  return el('details', { class: 'more' }, el('summary', null, counted(list.length, 'part') + ' side by side'), table([
    { title: 'part', kind: 'name', cell: (part) => part.id },
    { title: 'about', cell: (part) => part.subject || '–' },
    { title: 'state', cell: (part) => badge(part.status, STATES[part.status]) },
    { title: 'route', cell: (part) => part.route || '–' },
    { title: 'duration', number: true, cell: (part) => duration(part.ms) },
    { title: 'cost', number: true, cell: (part) => money(part.cost) },
    { title: 'failure', kind: 'text', cell: (part) => [part.class, part.message].filter(Boolean).join(': ') || '–' },
  ], list, 'Parts'));
}

/** All details of a request. */
function requestDetails(detail, row) {
  const author = detail.request && detail.request.background ? textOf(detail.request.background.account_name) : '';
  const plan = detail.plan ? el('p', { class: 'muted' }, 'Planned by ' + ({ model: 'the supervisor model', default: 'the settings, because the model’s plan could not be used', continued: 'an earlier request of the session' }[detail.plan.origin] || 'nobody: planning failed') + (detail.plan.attempts ? ', ' + duration(detail.plan.ms) + (detail.plan.cost !== null ? ', ' + money(detail.plan.cost) : '') : '') + '.') : null;
  return el('div', { class: 'details' },
    el('p', { class: 'muted facts' }, ['line ' + integer(row.line), row.session ? 'session ' + row.session : null, 'user ' + row.user, 'finished ' + moment(row.completed, true) + ' UTC', counted(row.calls, 'call'), integer(row.input) + ' tokens in, ' + integer(row.output) + ' out', money(row.cost)].filter(Boolean).join(' · ')),
    detail.redone ? el('p', { class: 'muted' }, 'This request is being made anew. Shown is its earlier result.') : null,
    failed(detail.failure),
    detail.warnings && detail.warnings.length ? el('ul', { class: 'warnings' }, detail.warnings.map((warning) => el('li', { dir: 'auto' }, warning))) : null,
    asked(detail.request),
    detail.left_out ? el('p', { class: 'muted' }, detail.left_out) : null,
    detail.tasks && detail.tasks.length ? el('div', { class: 'block' }, el('h4', null, 'Queue and results'), plan, el('ol', { class: 'steps' }, detail.tasks.map((task) => step(task, author)))) : null,
    isEmpty(detail.metadata) ? null : el('details', { class: 'more' }, el('summary', null, 'Metadata of the line'), shown(detail.metadata)));
}
