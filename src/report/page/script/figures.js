// The sections of a report of one run, from its figures.

const CAUSES = {
  bad_request: 'The provider refused the call as wrong.',
  auth: 'The provider refused the key.',
  quota: 'Credit or a spending limit was used up.',
  rate_limited: 'The provider asked for fewer requests.',
  timeout: 'The time for the connection, the first token or the call ran out.',
  stalled: 'The answer stopped arriving.',
  network: 'The connection failed or was cut.',
  server: 'The provider failed.',
  context_length: 'The prompt did not fit the model.',
  content_filter: 'The provider’s filter, or the model itself, refused.',
  schema: 'The answer did not have the requested form, and was asked for again.',
  search: 'No search provider answered.',
  poison: 'Processes crashed while they worked on it.',
  internal: 'A fault of nova3 itself.',
  abandoned: 'Stopped by a signal, or lost in a crash.',
  repeated: 'Answered too late: another call had done the work.',
};

/** The state of the run in one word. */
function standing(data) {
  const counts = data.counts;
  if (counts.total === 0) return ['no requests', ''];
  if (counts.left > 0 || !data.run.read_to_its_end) return ['not finished', 'warn'];
  if (counts.failed + counts.partial > 0) return ['finished, with failures', 'bad'];
  if (counts.paused > 0) return ['paused for a choice', 'warn'];
  return ['finished', 'good'];
}

function lead(data) {
  const { counts, sums } = data;
  if (counts.total === 0) return 'This run has no requests yet.';
  const text = [];
  const ended = counts.done - counts.partial;
  text.push(integer(ended) + ' of ' + counted(counts.total, 'request') + (ended === 1 ? ' is done' : ' are done') + ' (' + percent(ended, counts.total) + ').');
  const bad = counts.failed + counts.partial;
  if (bad > 0) text.push(integer(counts.failed) + ' failed' + (counts.partial > 0 ? ' and ' + integer(counts.partial) + ' are done in part' : '') + ' (' + percent(bad, counts.total) + ').');
  if (counts.paused > 0) text.push(integer(counts.paused) + ' wait for a person’s choice.');
  if (counts.left > 0) text.push(integer(counts.left) + ' still need work.');
  if (sums.cost !== null && sums.calls > 0) {
    text.push('The run cost ' + money(sums.cost) + (sums.wasted > 0 ? ', of which ' + money(sums.wasted) + ' (' + percent(sums.wasted, sums.cost) + ') gave no usable answer' : '') + '.');
  } else if (sums.calls > 0) {
    text.push('What it cost is not known, because no route has a price.');
  }
  if (data.request_ms) text.push('Half of the requests were worked on for less than ' + duration(data.request_ms.p50) + ', 95' + NB + '% for less than ' + duration(data.request_ms.p95) + '.');
  return text.join(' ');
}

function figure(name, value, note, kind) {
  return el('div', { class: 'figure ' + (kind || '') }, el('dt', null, name), el('dd', null, el('strong', null, value), note ? el('span', null, note) : null));
}

function headline(data) {
  const { counts, sums } = data;
  const ended = counts.done - counts.partial;
  const bad = counts.failed + counts.partial;
  const finished = counts.done + counts.failed;
  const took = data.span ? data.span[1] - data.span[0] : null;
  const figures = [
    figure('Requests done', integer(ended), 'of ' + integer(counts.total), 'good'),
    figure('Failed', integer(bad), counts.partial > 0 ? integer(counts.partial) + ' of them in part' : percent(bad, counts.total), bad > 0 ? 'bad' : ''),
    figure('Left', integer(counts.left), counts.paused > 0 ? integer(counts.paused) + ' more are paused' : counts.left > 0 ? integer(counts.running) + ' running' : 'nothing to do'),
    figure('Cost', money(sums.cost), sums.unpriced > 0 && sums.cost !== null ? counted(sums.unpriced, 'call') + ' without a price' : data.run.max_cost !== null ? 'cap ' + money(data.run.max_cost) : sums.cost === null ? 'no price known' : 'US dollars'),
    figure('Cost per request', sums.cost !== null && finished > 0 ? money(sums.cost / finished) : '–', 'done or failed'),
    figure('Without use', sums.cost ? percent(sums.wasted, sums.cost) : '–', sums.cost ? money(sums.wasted) + ' of the cost' : 'share of the cost', sums.cost && sums.wasted / sums.cost > 0.1 ? 'warn' : ''),
    figure('Tokens', short(sums.input + sums.output), short(sums.input) + ' in, ' + short(sums.output) + ' out'),
    figure('Calls', integer(sums.calls), percent(sums.failed_calls, sums.calls) + ' failed'),
    figure('From first to last call', took === null ? '–' : duration(took), data.span ? 'from ' + moment(data.span[0]) + ' UTC' : null),
    figure('Working time of a request', data.request_ms ? duration(data.request_ms.p50) : '–', data.request_ms ? '95' + NB + '% within ' + duration(data.request_ms.p95) : null),
  ];
  const shares = [['done', ended], ['failed', bad], ['paused', counts.paused + counts.continued], ['left', counts.left]].filter(([, count]) => count > 0);
  const strip = el('div', { class: 'strip', role: 'img', 'aria-label': shares.map(([name, count]) => name + ' ' + integer(count)).join(', ') },
    shares.map(([name, count]) => {
      const part = el('span', { class: 'column-fill ' + name, title: name + ': ' + integer(count) });
      part.style.setProperty('flex-grow', String(count));
      return part;
    }));
  const key = el('div', { class: 'legend' }, shares.map(([name, count]) => el('span', null, el('i', { class: 'swatch ' + name }), name + ' ' + integer(count) + ' (' + percent(count, counts.total) + ')')));
  return [counts.total > 0 ? el('div', { class: 'progress' }, strip, key) : null, el('dl', { class: 'figures-grid' }, figures), madeOf(data)];
}

function madeOf(data) {
  const made = data.quality.made.slice().sort((a, b) => b[1] - a[1]).slice(0, 12);
  if (made.length === 0) return null;
  return el('p', { class: 'made' }, 'Made: ', made.map(([kind, count]) => el('span', { class: 'chip' }, el('b', null, integer(count)), ' ' + kind.replaceAll('_', ' '))));
}

function overTime(data) {
  const line = data.timeline;
  if (!line) return null;
  const frame = { start: line.start, width: line.width, count: line.done.length };
  const series = [
    { name: 'done', kind: 'done', values: line.done },
    { name: 'failed', kind: 'failed', values: line.failed },
    { name: 'paused', kind: 'paused', values: line.paused },
  ];
  return section('time', 'Timeline', 'Times are UTC.',
    card('Finished requests', null, columnsOverTime('Finished requests over time', frame, series, { unit: 'requests per ' + span(line.width), format: short, isWhole: true })),
    card('Calls in flight', 'The mean over each ' + (line.width === 1000 || line.width === 60000 || line.width === 3600000 || line.width === 86400000 ? '' : 'slot of ') + span(line.width) + '.', areaOverTime('Calls in flight over time', frame, { name: 'calls in flight', kind: 'one', values: line.in_flight }, { unit: 'calls at once', format: short })));
}

function latency(data) {
  const groups = [{ key: 'agent', label: 'By agent' }, { key: 'route', label: 'By route' }];
  const rows = (kind, which) => data.latency[kind].filter((row) => row[which]).map((row) => ({ name: row.name, spread: row[which] }));
  if (data.latency.agent.length === 0) return null;
  const one = (which, title, note) => card(title, note, choices(title, groups, (kind) => {
    const found = rows(kind, which);
    return found.length ? ranges(title + ', ' + kind, found) : el('p', { class: 'empty' }, 'No answer came in pieces, so there is no first token.');
  }));
  return section('speed', 'Speed', 'Only calls with a good answer count here.',
    el('div', { class: 'pair' },
      one('whole', 'Whole call', 'From sending to the last token.'),
      one('first', 'First token', 'From sending to the first token of a streamed answer.')),
    data.request_columns.length ? card('Working time of the requests', 'The time in which at least one call of a request was in flight. Calls side by side count once.', histogram('Working time of the requests', data.request_columns)) : null);
}

function load(data) {
  if (data.rates.length === 0) return null;
  const charts = data.rates.map((rate) => {
    const frame = { start: rate.start, width: rate.minutes * 60000, count: rate.calls.length };
    const peaks = (values) => rate.minutes > 1 ? values : null;
    const busiest = Math.max(...rate.calls_most);
    const most = Math.max(...rate.tokens_most);
    const use = (value, limit) => limit ? integer(value) + ' in the busiest minute, ' + percent(value, limit) + ' of the limit of ' + integer(limit) : integer(value) + ' in the busiest minute, no limit set';
    return card(rate.route, null, el('div', { class: 'pair tight' },
      el('div', null, el('p', { class: 'note' }, 'Requests: ' + use(busiest, rate.rpm)),
        areaOverTime('Requests a minute of ' + rate.route, frame, { name: 'requests a minute', kind: 'one', values: rate.calls, most: peaks(rate.calls_most) }, { unit: 'requests per minute', format: short, limit: rate.rpm, isWhole: true })),
      el('div', null, el('p', { class: 'note' }, 'Tokens: ' + use(most, rate.tpm)),
        areaOverTime('Tokens a minute of ' + rate.route, frame, { name: 'tokens a minute', kind: 'two', values: rate.tokens, most: peaks(rate.tokens_most) }, { unit: 'tokens per minute', format: short, limit: rate.tpm, isWhole: true }))));
  });
  const troubles = data.routes.filter((route) => route.state !== 'closed' || route.open_ms > 0);
  const states = troubles.length ? card('Routes that had trouble', null, table([
    { title: 'route', cell: (route) => route.route },
    { title: 'last state', cell: (route) => route.state.replace('_', ' ') },
    { title: 'since (UTC)', cell: (route) => moment(route.since) },
    { title: 'breaker open', number: true, cell: (route) => duration(route.open_ms) },
    { title: 'reason', kind: 'text', cell: (route) => route.reason || '–' },
  ], troubles, 'Routes that had trouble')) : null;
  return section('load', 'Load against the limits', 'Calls count in the minute in which they were sent.' + (data.limits_of === 'run' ? ' Limits are those that the workers of the run share.' : data.limits_of === 'settings' ? ' Limits are those of the settings when this page was made.' : ''), charts, states);
}

function costs(data) {
  if (data.sums.calls === 0) return null;
  const priced = data.sums.cost !== null;
  const value = (row) => priced ? row.cost || 0 : row.input + row.output;
  const show = (kind) => {
    const rows = data.groups[kind];
    const most = Math.max(...rows.map(value), 0);
    const all = rows.reduce((sum, row) => sum + value(row), 0);
    const name = (row) => kind === 'user' && row.name === '' ? counted(data.groups.other_users, 'other user') : row.name;
    return table([
      { title: kind === 'day' ? 'day (UTC)' : kind, kind: 'name', cell: name },
      { title: priced ? 'cost' : 'tokens', number: true, cell: (row) => priced ? money(row.cost) : integer(row.input + row.output) },
      { title: 'share', kind: 'share', cell: (row) => shareCell(value(row) / most, 'one', percent(value(row), all)) },
      { title: 'without use', number: true, cell: (row) => priced ? money(row.wasted) : '–' },
      { title: 'calls', number: true, cell: (row) => integer(row.calls) },
      { title: 'failed', number: true, cell: (row) => integer(row.failed) },
      { title: 'tokens in', number: true, cell: (row) => integer(row.input) },
      { title: 'from cache', number: true, cell: (row) => row.input ? percent(row.cached, row.input) : '–' },
      { title: 'tokens out', number: true, cell: (row) => integer(row.output) },
    ], rows, 'Cost and tokens by ' + kind);
  };
  return section('cost', 'Cost', priced ? 'In US dollars, over all calls, also of requests that failed or left the input.' : 'No route of this run has a price, so that tokens are compared.',
    card(null, data.sums.uncertain > 0 ? 'Answers that were lost in transit may cost up to ' + money(data.sums.uncertain) + ' more.' : null,
      choices('Group', [{ key: 'agent', label: 'By agent' }, { key: 'route', label: 'By route' }, { key: 'day', label: 'By day' }, { key: 'user', label: 'By user' }], show)));
}

function waste(data) {
  if (data.waste.length === 0) return data.sums.calls ? section('waste', 'Waste', 'Each call gave a result. Nothing was spent without use.') : null;
  const total = data.waste.reduce((sum, row) => sum + row.cost, 0);
  const calls = data.waste.reduce((sum, row) => sum + row.calls, 0);
  const byCost = data.sums.cost !== null && total > 0;
  const value = (row) => byCost ? row.cost : row.calls;
  const rows = data.waste.slice().sort((a, b) => value(b) - value(a) || b.calls - a.calls);
  const most = Math.max(...rows.map(value));
  return section('waste', 'Waste', counted(calls, 'call') + ' gave no result' + (byCost ? ' and cost ' + money(total) + ', ' + percent(total, data.sums.cost) + ' of all costs' : '') + '.',
    card(null, null, table([
      { title: 'route', kind: 'name', cell: (row) => row.route },
      { title: 'cause', kind: 'text', cell: (row) => el('span', { title: CAUSES[row.cause] || null }, row.cause.replaceAll('_', ' '), el('span', { class: 'muted below' }, CAUSES[row.cause] || '')) },
      { title: 'calls', number: true, cell: (row) => integer(row.calls) },
      { title: 'cost', number: true, cell: (row) => data.sums.cost === null ? '–' : money(row.cost) },
      { title: 'share', kind: 'share', cell: (row) => shareCell(value(row) / most, 'failed', percent(value(row), byCost ? total : calls)) },
      { title: 'tokens', number: true, cell: (row) => integer(row.input + row.output) },
      { title: 'and up to', number: true, cell: (row) => row.uncertain > 0 ? money(row.uncertain) : '–' },
    ], rows, 'Calls without a result')));
}

function actions(data) {
  if (data.actions.length === 0) return null;
  return section('actions', 'Done to this run', 'The newest ' + counted(data.actions.length, 'command') + ' that worked on this run or changed it.',
    card(null, null, table([
      { title: 'began', kind: 'name', cell: (row) => moment(row.began) },
      { title: 'command', cell: (row) => row.command },
      { title: 'by', cell: (row) => row.user + '@' + row.host },
      { title: 'took', number: true, cell: (row) => row.ended === null ? '–' : duration(Math.max(row.ended - row.began, 0)) },
      { title: 'end', kind: 'text', cell: (row) => row.ending === null ? badge('no end: it goes on, or its process was killed', 'warn') : row.ending },
      { title: 'flags', kind: 'text', cell: (row) => row.flags === null ? '–' : row.flags },
    ], data.actions, 'Commands')));
}

function failures(data, openRequest) {
  const bad = data.counts.failed + data.counts.partial;
  const calls = data.failed_calls;
  const intro = bad === 0 ? 'No request failed.' : counted(bad, 'request') + (bad === 1 ? ' has' : ' have') + ' a failed task or a bad line.';
  const most = Math.max(...data.failures.map((row) => row.requests), 1);
  const list = data.failures.map((row) => el('div', { class: 'card failure' },
    el('h3', null, badge(row.class.replaceAll('_', ' '), 'bad'), ' ', counted(row.requests, 'request')),
    data.failures.length > 1 ? bar(row.requests / most, 'failed') : null,
    el('p', { class: 'advice' }, el('b', null, 'Next step: '), row.advice),
    row.examples.length ? el('ul', { class: 'examples' }, row.examples.map((example) => el('li', null,
      el('button', { type: 'button', class: 'link-like', onclick: () => openRequest(example.id) }, example.id),
      el('span', { class: 'muted' }, [example.task, example.route, example.status].filter(Boolean).map((part) => ' · ' + part).join('')),
      example.message ? el('p', { class: 'quote', dir: 'auto' }, example.message) : null))) : null));
  const failed = calls.length ? card('Failed calls', 'Calls that failed, also those that were repeated with success.', table([
    { title: 'route', kind: 'name', cell: (row) => row.route },
    { title: 'cause', cell: (row) => row.cause.replaceAll('_', ' ') },
    { title: 'calls', number: true, cell: (row) => integer(row.calls) },
    { title: 'of all calls', number: true, cell: (row) => percent(row.calls, data.sums.calls) },
  ], calls, 'Failed calls')) : null;
  return section('failures', 'Failures', intro, el('div', { class: 'cards' }, list), failed);
}

function quality(data, openRequest) {
  const q = data.quality;
  const facts = q.sourced + q.unsourced;
  const compliance = q.findings.filter((finding) => finding.compliance);
  const others = q.findings.filter((finding) => !finding.compliance);
  const examples = (finding) => el('ul', { class: 'examples' }, finding.examples.map((example) => el('li', null,
    el('button', { type: 'button', class: 'link-like', onclick: () => openRequest(example.id) }, example.id),
    example.text ? el('span', { dir: 'auto', class: 'quote-line' }, example.text) : null)));
  const findings = (list, title, note, none) => card(title, note, list.length ? list.map((finding) => el('details', { class: 'finding' },
    el('summary', null, el('span', null, finding.label), el('span', { class: 'count' }, counted(finding.requests, 'request'))),
    examples(finding))) : el('p', { class: 'empty' }, none));
  const facts_card = card('Facts and their sources', facts ? percent(q.sourced, facts) + ' of ' + counted(facts, 'fact') + ' name a source that holds them.' : null,
    facts ? [bar(q.sourced / facts, 'good'), q.unproven.length ? el('ul', { class: 'plain' }, q.unproven.map(([reason, count]) => el('li', null, integer(count) + ' × ', el('span', { dir: 'auto' }, reason)))) : null,
      q.unsourced ? el('p', { class: 'note' }, counted(q.unsourced, 'fact') + ' without a source ' + (q.unsourced === 1 ? 'is' : 'are') + ' marked in the results.') : null]
      : el('p', { class: 'empty' }, 'No result has facts.'));
  const fallbacks = card('Fallbacks', 'Tasks that another route did than the first of its chain.', q.fallbacks.length ? table([
    { title: 'from', kind: 'name', cell: (row) => row.from },
    { title: 'to', kind: 'name', cell: (row) => row.to },
    { title: 'tasks', number: true, cell: (row) => integer(row.tasks) },
    { title: 'reasons', kind: 'text', cell: (row) => row.reasons.map(([reason, count]) => el('div', { dir: 'auto' }, integer(count) + ' × ' + reason)) },
  ], q.fallbacks, 'Fallbacks') : el('p', { class: 'empty' }, 'Each task was done on the first route of its chain.'));
  const searches = card('Searches', q.queries ? counted(q.queries, 'query', 'queries') + ': ' + integer(q.cached) + ' from the cache, ' + integer(q.unanswered) + ' not looked up. ' + counted(q.degraded, 'request') + ' had to do without some of the material.' : null,
    q.queries ? [
      table([{ title: 'answered by', kind: 'name', cell: (row) => row[0] }, { title: 'queries', number: true, cell: (row) => integer(row[1]) }, { title: 'share', kind: 'share', cell: (row) => shareCell(row[1] / q.queries, 'one', percent(row[1], q.queries)) }], q.providers, 'Search providers'),
      q.failures.length ? table([
        { title: 'provider that failed', kind: 'name', cell: (row) => row.link },
        { title: 'how', kind: 'short', cell: (row) => row.kind.replaceAll('_', ' ') },
        { title: 'queries', number: true, cell: (row) => integer(row.count) },
        { title: 'example', kind: 'text', cell: (row) => row.example || '–' },
      ], q.failures, 'Failed searches') : null,
    ] : el('p', { class: 'empty' }, q.degraded ? counted(q.degraded, 'request') + ' had to do without some of the material.' : 'No task searched.'));
  return section('quality', 'To check', null, el('div', { class: 'pair loose' },
    findings(compliance, 'Compliance', 'What a person should check before publishing.', 'No rule is broken.'),
    facts_card, fallbacks, searches),
  others.length ? findings(others, 'Other warnings', null, '') : null);
}
