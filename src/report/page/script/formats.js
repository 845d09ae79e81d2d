// Numbers, money, times and shares as text.

// A number and its unit stay on one line.
const NB = '\u00a0';

const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

function integer(n) {
  return whole.format(n || 0);
}

function counted(n, one, many) {
  return integer(n) + NB + (n === 1 ? one : many || one + 's');
}

/** A number in few characters, for axes and headlines. */
function short(n) {
  const size = Math.abs(n);
  const cut = (value, unit) => String(Number(Math.abs(value) < 100 ? value.toPrecision(3) : value.toFixed(0))) + (unit === 'k' ? unit : NB + unit);
  if (size >= 1e9) return cut(n / 1e9, 'B');
  if (size >= 1e6) return cut(n / 1e6, 'M');
  if (size >= 1e4) return cut(n / 1e3, 'k');
  if (size < 10 && size !== Math.round(size)) return String(Math.round(n * 100) / 100);
  return integer(n);
}

/** US dollars with as many digits as the amount needs. */
function money(usd) {
  if (usd === null || usd === undefined) return '–';
  const size = Math.abs(usd);
  const digits = size === 0 ? 2 : size >= 1 ? 2 : size >= 0.01 ? 4 : 6;
  return '$' + usd.toLocaleString('en-US', { minimumFractionDigits: Math.min(digits, 4), maximumFractionDigits: digits });
}

/** A duration in milliseconds. */
function duration(ms) {
  if (ms === null || ms === undefined) return '–';
  if (ms < 1000) return integer(ms) + NB + 'ms';
  const s = ms / 1000;
  if (s < 10) return s.toFixed(1) + NB + 's';
  if (s < 60) return Math.round(s) + NB + 's';
  const minutes = Math.floor(s / 60);
  if (minutes < 60) return minutes + NB + 'min' + NB + Math.floor(s % 60) + NB + 's';
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return hours + NB + 'h' + NB + (minutes % 60) + NB + 'min';
  return Math.floor(hours / 24) + NB + 'days' + NB + (hours % 24) + NB + 'h';
}

/** A duration in few characters, for axes: 200 ms, 1 s, 2 min. */
function tick(ms) {
  if (ms === 0) return '0';
  if (ms < 1000) return ms + ' ms';
  if (ms < 60000) return Math.round(ms / 100) / 10 + ' s';
  if (ms < 3600000) return Math.round(ms / 6000) / 10 + ' min';
  if (ms < 172800000) return Math.round(ms / 360000) / 10 + ' h';
  return Math.round(ms / 8640000) / 10 + ' d';
}

function percent(part, all) {
  if (!all) return '–';
  const share = part / all * 100;
  if (share > 0 && share < 0.1) return '<' + NB + '0.1' + NB + '%';
  if (share < 100 && share > 99.9) return '>' + NB + '99.9' + NB + '%';
  return (share >= 10 && share === Math.round(share) ? share : share.toFixed(1)) + NB + '%';
}

function two(n) {
  return String(n).padStart(2, '0');
}

function dated(ms) {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? null : date;
}

function day(ms) {
  const date = dated(ms);
  return date ? date.toISOString().slice(0, 10) : '–';
}

/** A time in UTC. */
function moment(ms, withSeconds) {
  const date = dated(ms);
  if (!date) return '–';
  return day(ms) + ' ' + two(date.getUTCHours()) + ':' + two(date.getUTCMinutes()) + (withSeconds ? ':' + two(date.getUTCSeconds()) : '');
}

/** The time of an axis: the finer the step, the more of the clock. */
function clock(ms, step) {
  const date = dated(ms);
  if (!date) return '';
  if (step >= 86400000) return day(ms).slice(5);
  const hm = two(date.getUTCHours()) + ':' + two(date.getUTCMinutes());
  if (step >= 60000) return hm;
  const s = hm + ':' + two(date.getUTCSeconds());
  return step >= 1000 ? s : s + '.' + Math.floor(date.getUTCMilliseconds() / 100);
}

/** The width of a slot as words: "second", "10 minutes". */
function span(ms) {
  const units = [[86400000, 'day'], [3600000, 'hour'], [60000, 'minute'], [1000, 'second']];
  for (const [size, name] of units) {
    if (ms >= size) {
      const n = Math.round(ms / size * 10) / 10;
      return n === 1 ? name : n + ' ' + name + 's';
    }
  }
  return ms / 1000 + ' seconds';
}
