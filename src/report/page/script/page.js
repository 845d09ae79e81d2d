// The page: its head, its navigation, and its sections.

function parsed(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

function themeButton() {
  const root = document.documentElement;
  const dark = () => root.getAttribute('data-theme') === 'dark' || (!root.hasAttribute('data-theme') && window.matchMedia('(prefers-color-scheme: dark)').matches);
  const button = el('button', { type: 'button', class: 'theme', onclick: () => { root.setAttribute('data-theme', dark() ? 'light' : 'dark'); name(); } });
  const name = () => { button.textContent = dark() ? '☀ Light' : '☾ Dark'; };
  name();
  return button;
}

function head(title, subtitle, badges) {
  return el('header', { class: 'head' },
    el('div', { class: 'head-line' }, el('span', { class: 'brand' }, 'nova3 report'), themeButton()),
    el('h1', { dir: 'auto' }, title),
    el('p', { class: 'subtitle' }, badges, el('span', { class: 'muted' }, subtitle)));
}

function navigation(sections) {
  return el('nav', { class: 'nav', 'aria-label': 'Sections' }, sections.filter(Boolean).map((node) => el('a', { href: '#' + node.id }, node.querySelector('h2').textContent)));
}

function foot(data) {
  return el('footer', null, 'Made by nova3 ' + data.version + ' on ' + moment(data.made_at, true) + ' UTC. All times are UTC, costs are US dollars at the prices of the settings. The page loads nothing from the network.');
}

function report(data, details) {
  const [state, kind] = standing(data);
  const run = data.run;
  const subtitle = [run.input || 'standard input', 'begun ' + moment(run.created_at) + ' UTC', 'last used ' + moment(run.last_accessed) + ' UTC', data.workers > 1 ? counted(data.workers, 'worker') : null].filter(Boolean).join(' · ');
  const badges = [badge(state, kind), run.rehearsal ? badge('rehearsal: a mock server gave the answers', 'warn') : null, run.read_to_its_end ? null : badge('the input is not read to its end', 'warn')];
  const requests = requestTable(data, details);
  const sections = [
    section('headline', 'In short', lead(data), headline(data)),
    overTime(data), latency(data), load(data), costs(data), waste(data), failures(data, requests.open), quality(data, requests.open), actions(data), requests.node,
  ].filter(Boolean);
  return [head(run.name, subtitle, badges), navigation(sections), el('main', null, sections), foot(data)];
}

function compared(data, details) {
  const names = data.runs.map((run) => run.run.name);
  const when = data.runs.map((run) => run.run.name + ': begun ' + moment(run.run.created_at) + ' UTC').join(' · ');
  const sections = comparison(data, details);
  return [head(names[0] + ' and ' + names[1], when, null), navigation(sections), el('main', null, sections), foot(data)];
}

const place = document.getElementById('page');
try {
  const data = parsed('data');
  const details = parsed('details');
  place.replaceChildren(...(data.kind === 'compare' ? compared(data, details) : report(data, details)), tip, hatching());
  window.addEventListener('scroll', hideTip, { passive: true });
} catch (error) {
  place.replaceChildren(el('p', { class: 'noscript' }, 'This report cannot be shown: ' + error.message));
  throw error;
}
