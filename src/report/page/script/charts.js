// Charts as SVG. A chart is drawn for the width of its place, and again when that changes.

const tip = el('div', { class: 'tip', role: 'presentation', hidden: true });

/** The hatching of failures, so that colour is not the only difference. */
function hatching() {
  return svg('svg', { width: 0, height: 0, class: 'unseen', 'aria-hidden': 'true' }, svg('defs', null,
    svg('pattern', { id: 'hatch', width: 6, height: 6, patternUnits: 'userSpaceOnUse', patternTransform: 'rotate(45)' },
      svg('rect', { class: 'hatch-ground', width: 6, height: 6 }), svg('rect', { class: 'hatch-line', width: 2, height: 6 }))));
}

function showTip(event, lines) {
  tip.replaceChildren(...lines.map((line, index) => el('div', { class: index === 0 ? 'tip-head' : null }, line)));
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const x = Math.min(event.clientX + 14, window.innerWidth - box.width - 8);
  const y = event.clientY - box.height - 12 < 0 ? event.clientY + 18 : event.clientY - box.height - 12;
  tip.style.setProperty('left', Math.max(4, x) + 'px');
  tip.style.setProperty('top', y + 'px');
}

function hideTip() {
  tip.hidden = true;
}

function hover(node, lines) {
  node.addEventListener('pointermove', (event) => showTip(event, lines()));
  node.addEventListener('pointerleave', hideTip);
  return node;
}

/** A place that draws itself for its width. `values` is the table of the same figures. */
function chart(label, draw, values) {
  const place = el('div', { class: 'chart' });
  let drawn = 0;
  function redraw() {
    const width = Math.floor(place.clientWidth);
    if (width < 60 || width === drawn) return;
    drawn = width;
    const picture = draw(width);
    picture.setAttribute('role', 'img');
    picture.setAttribute('aria-label', label);
    place.replaceChildren(picture);
  }
  new ResizeObserver(redraw).observe(place);
  if (!values) return place;
  const rest = el('details', { class: 'figures' }, el('summary', null, 'Figures of this chart'));
  rest.addEventListener('toggle', () => {
    if (rest.open && rest.children.length === 1) rest.append(values());
  });
  return el('div', null, place, rest);
}

/** Round steps from 0 to at least `most`. */
function steps(most, count, isWhole) {
  if (!(most > 0)) return [0, 1];
  const raw = most / count;
  const power = Math.pow(10, Math.floor(Math.log10(raw)));
  let step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= raw * 0.999);
  if (isWhole) step = Math.max(1, Math.ceil(step));
  const found = [];
  for (let n = 0; n <= Math.ceil(most / step - 1e-9); n += 1) found.push(Math.round(n * step * 1e6) / 1e6);
  return found;
}

/** Round steps of a duration. */
function timeSteps(most, count) {
  const sizes = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 30000, 60000, 120000, 300000, 600000, 1200000, 1800000, 3600000, 7200000, 21600000, 43200000, 86400000];
  const step = sizes.find((size) => most / size <= count) || Math.ceil(most / count / 86400000) * 86400000;
  const found = [];
  for (let n = 0; n <= Math.ceil(most / step - 1e-9); n += 1) found.push(n * step);
  return found.length > 1 ? found : [0, step];
}

/** Round times within the chart, as many as have room. */
function timeTicks(data, box) {
  const sizes = [100, 200, 500, 1000, 2000, 5000, 10000, 15000, 30000, 60000, 120000, 300000, 600000, 900000, 1800000, 3600000, 7200000, 10800000, 21600000, 43200000, 86400000];
  const all = data.width * data.count;
  const room = (step) => (step >= 86400000 ? 44 : step >= 60000 ? 46 : step >= 1000 ? 66 : 80) / (box.right - box.left) * all;
  const step = sizes.find((size) => size >= room(size)) || Math.ceil(room(86400000) / 86400000) * 86400000;
  const found = [];
  for (let ms = Math.ceil(data.start / step) * step; ms <= data.start + all; ms += step) {
    const [before, after] = [ms - data.start, data.start + all - ms];
    found.push({ ms: ms, text: clock(ms, step), side: before < room(step) / 2 ? 'start' : after < room(step) / 2 ? 'end' : 'middle' });
  }
  // A label at an end is moved inwards, and may then be too close to the next one.
  if (found.length > 1 && found[0].side === 'start' && found[1].ms - found[0].ms < room(step) * 1.5) found[0].side = found[0].ms === data.start ? 'start' : 'middle';
  if (found.length === 0) found.push({ ms: data.start, text: clock(data.start, Math.min(data.width, 1000)), side: 'start' });
  return found;
}

/** Whether each label has room beside those before it. A label has `[left, width]` in pixels. */
function roomy(labels) {
  let end = -Infinity;
  return labels.map(([left, width]) => {
    if (left < end + 6) return false;
    end = left + width;
    return true;
  });
}

/** The frame of a chart over time: grid, axis, unit, and the columns of the slots. */
function timeFrame(width, height, data, most, options) {
  const ticks = steps(most, 4, options.isWhole);
  const top = ticks[ticks.length - 1];
  const labels = ticks.map(options.format);
  const left = Math.max(30, Math.max(...labels.map((text) => text.length)) * 7 + 12);
  const box = { left: left, right: width - 8, top: 24, bottom: height - 26 };
  const x = (slot) => box.left + (box.right - box.left) * slot / data.count;
  const y = (value) => box.bottom - (box.bottom - box.top) * Math.min(value, top) / top;
  const grid = ticks.map((value, index) => svg('g', null,
    svg('line', { class: value === 0 ? 'axis' : 'grid-line', x1: box.left, x2: box.right, y1: y(value), y2: y(value) }),
    svg('text', { class: 'tick', x: box.left - 6, y: y(value) + 4, 'text-anchor': 'end' }, labels[index])));
  const marks = timeTicks(data, box).map((time) => ({ ...time, at: x((time.ms - data.start) / data.width) }));
  const hasRoom = roomy(marks.map((time) => {
    const size = time.text.length * 6.6;
    return [time.at - size * { start: 0, middle: 0.5, end: 1 }[time.side], size];
  }));
  const times = marks.map((time, index) => svg('g', null,
    svg('line', { class: 'axis', x1: time.at, x2: time.at, y1: box.bottom, y2: box.bottom + 4 }),
    hasRoom[index] ? svg('text', { class: 'tick', x: time.at, y: box.bottom + 17, 'text-anchor': time.side }, time.text) : null));
  const unit = svg('text', { class: 'unit', x: 0, y: 12 }, options.unit);
  return { box: box, x: x, y: y, parts: [unit, grid, times] };
}

/** Invisible columns that show the figures of a slot. */
function hotSlots(frame, data, lines) {
  const spots = [];
  for (let slot = 0; slot < data.count; slot += 1) {
    const spot = svg('rect', { class: 'spot', x: frame.x(slot), y: frame.box.top, width: Math.max(0.5, frame.x(slot + 1) - frame.x(slot)), height: frame.box.bottom - frame.box.top });
    spots.push(hover(spot, () => [when(data, slot)].concat(lines(slot))));
  }
  return spots;
}

function when(data, slot) {
  const from = data.start + slot * data.width;
  return moment(from, data.width < 60000) + (data.width < 86400000 ? ' UTC' : '') + ', ' + span(data.width);
}

/** Stacked columns over time. A series is {name, kind, values}. */
function columnsOverTime(label, data, series, options) {
  const shown = series.filter((one, index) => index === 0 || one.values.some((value) => value > 0));
  const sums = Array.from({ length: data.count }, (_, slot) => shown.reduce((sum, one) => sum + one.values[slot], 0));
  const draw = (width) => {
    const height = width < 500 ? 190 : 230;
    const frame = timeFrame(width, height, data, Math.max(...sums), options);
    const gap = frame.x(1) - frame.x(0) > 4 ? 1 : 0;
    const columns = [];
    for (let slot = 0; slot < data.count; slot += 1) {
      let base = 0;
      for (const one of shown) {
        const value = one.values[slot];
        if (!value) continue;
        const y = frame.y(base + value);
        columns.push(svg('rect', {
          class: 'column ' + one.kind, fill: one.kind === 'failed' ? 'url(#hatch)' : null, x: frame.x(slot) + gap / 2, y: y,
          width: Math.min(60, Math.max(0.8, frame.x(slot + 1) - frame.x(slot) - gap)), height: Math.max(0.8, frame.y(base) - y),
        }));
        base += value;
      }
    }
    const lines = (slot) => shown.map((one) => one.name + ': ' + integer(one.values[slot]));
    return svg('svg', { width: width, height: height, viewBox: '0 0 ' + width + ' ' + height }, frame.parts, columns, hotSlots(frame, data, lines));
  };
  return el('div', null, legend(shown), chart(label, draw, () => timeTable(label, data, shown, integer)));
}

/** A line with the area below it, and a limit if there is one. */
function areaOverTime(label, data, series, options) {
  const most = Math.max(...series.values, ...(series.most || []), options.limit && options.limit < Math.max(...series.values) * 4 ? options.limit : 0);
  const draw = (width) => {
    const height = width < 500 ? 170 : 200;
    const frame = timeFrame(width, height, data, most, options);
    const { box, x, y } = frame;
    let path = '';
    series.values.forEach((value, slot) => {
      path += (slot ? 'L' : 'M') + x(slot).toFixed(1) + ' ' + y(value).toFixed(1) + 'L' + x(slot + 1).toFixed(1) + ' ' + y(value).toFixed(1);
    });
    const area = svg('path', { class: 'area ' + series.kind, d: path + 'L' + box.right + ' ' + box.bottom + 'L' + box.left + ' ' + box.bottom + 'Z' });
    const line = svg('path', { class: 'line ' + series.kind, d: path });
    const parts = [area, line];
    if (series.most) {
      let peaks = '';
      series.most.forEach((value, slot) => { peaks += (slot ? 'L' : 'M') + x(slot).toFixed(1) + ' ' + y(value).toFixed(1) + 'L' + x(slot + 1).toFixed(1) + ' ' + y(value).toFixed(1); });
      parts.push(svg('path', { class: 'line peak', d: peaks }));
    }
    if (options.limit && options.limit <= most) {
      parts.push(svg('line', { class: 'limit', x1: box.left, x2: box.right, y1: y(options.limit), y2: y(options.limit) }));
      parts.push(svg('text', { class: 'limit-name', x: box.right, y: y(options.limit) - 5, 'text-anchor': 'end' }, 'limit ' + short(options.limit)));
    }
    const lines = (slot) => [series.name + ': ' + options.format(series.values[slot])]
      .concat(series.most ? ['busiest minute: ' + options.format(series.most[slot])] : [])
      .concat(options.limit ? ['limit: ' + options.format(options.limit)] : []);
    return svg('svg', { width: width, height: height, viewBox: '0 0 ' + width + ' ' + height }, frame.parts, parts, hotSlots(frame, data, lines));
  };
  const listed = [series].concat(series.most ? [{ name: 'busiest minute', values: series.most }] : []);
  return chart(label, draw, () => timeTable(label, data, listed, options.format));
}

function timeTable(label, data, series, format) {
  const slots = Array.from({ length: data.count }, (_, slot) => slot);
  const columns = [{ title: 'from (UTC)', cell: (slot) => moment(data.start + slot * data.width, data.width < 60000) }];
  for (const one of series) columns.push({ title: one.name, number: true, cell: (slot) => format(one.values[slot]) });
  return table(columns, slots, label);
}

function legend(series) {
  if (series.length < 2) return null;
  return el('div', { class: 'legend' }, series.map((one) => el('span', null, el('i', { class: 'swatch ' + one.kind }), one.name)));
}

/** The middle, 95 % and 99 % of durations by group, each with a shape of its own. */
function ranges(label, rows) {
  const most = Math.max(...rows.map((row) => row.spread.p99));
  const rowHeight = 30;
  const draw = (width) => {
    const names = Math.min(width * 0.36, Math.max(...rows.map((row) => row.name.length)) * 7.2 + 14);
    const box = { left: names, right: width - 16, top: 8, bottom: 8 + rows.length * rowHeight };
    const ticks = timeSteps(most, width < 500 ? 4 : 6);
    const top = ticks[ticks.length - 1];
    const x = (ms) => box.left + (box.right - box.left) * Math.min(ms, top) / top;
    const height = box.bottom + 38;
    // The last label stands inwards, and its neighbour gives way to it.
    const isShown = (value, index) => index !== ticks.length - 2 || x(top) - x(value) > (tick(top).length * 1.5 + 2) * 6.6;
    const grid = ticks.map((value, index) => svg('g', null,
      svg('line', { class: value === 0 ? 'axis' : 'grid-line', x1: x(value), x2: x(value), y1: box.top, y2: box.bottom }),
      isShown(value, index) ? svg('text', { class: 'tick', x: x(value), y: box.bottom + 16, 'text-anchor': value === top ? 'end' : 'middle' }, tick(value)) : null));
    const unit = svg('text', { class: 'unit', x: box.right, y: box.bottom + 33, 'text-anchor': 'end' }, 'duration of a call');
    const marks = rows.map((row, index) => {
      const y = box.top + rowHeight * (index + 0.5);
      const { p50, p95, p99 } = row.spread;
      const room = Math.floor((names - 12) / 7);
      const name = row.name.length > room ? row.name.slice(0, Math.max(1, room - 1)) + '…' : row.name;
      const [a, b, c] = [x(p50), x(p95), x(p99)];
      const group = svg('g', null,
        svg('text', { class: 'name', x: 0, y: y + 4 }, name),
        svg('line', { class: 'whisker', x1: b, x2: c, y1: y, y2: y }),
        svg('line', { class: 'span', x1: a, x2: b, y1: y, y2: y }),
        svg('path', { class: 'mark p99', d: 'M' + c + ' ' + (y - 5) + 'L' + (c + 5) + ' ' + (y + 4) + 'L' + (c - 5) + ' ' + (y + 4) + 'Z' }),
        svg('rect', { class: 'mark p95', x: b - 4, y: y - 4, width: 8, height: 8 }),
        svg('circle', { class: 'mark p50', cx: a, cy: y, r: 5 }),
        svg('rect', { class: 'spot', x: 0, y: y - rowHeight / 2, width: width, height: rowHeight }));
      return hover(group, () => [row.name, 'half within ' + duration(p50), '95' + NB + '% within ' + duration(p95), '99 % within ' + duration(p99), 'longest ' + duration(row.spread.most), counted(row.spread.count, 'call')]);
    });
    return svg('svg', { width: width, height: height, viewBox: '0 0 ' + width + ' ' + height }, grid, unit, marks);
  };
  const columns = [
    { title: 'name', cell: (row) => row.name },
    { title: 'calls', number: true, cell: (row) => integer(row.spread.count) },
    { title: 'p50', number: true, cell: (row) => duration(row.spread.p50) },
    { title: 'p95', number: true, cell: (row) => duration(row.spread.p95) },
    { title: 'p99', number: true, cell: (row) => duration(row.spread.p99) },
    { title: 'longest', number: true, cell: (row) => duration(row.spread.most) },
  ];
  const key = el('div', { class: 'legend' },
    el('span', null, el('i', { class: 'shape p50' }), 'half of the calls (p50)'),
    el('span', null, el('i', { class: 'shape p95' }), '95 % (p95)'),
    el('span', null, el('i', { class: 'shape p99' }), '99 % (p99)'));
  return el('div', null, key, chart(label, draw, () => table(columns, rows, label)));
}

/** A histogram of durations, whose columns are [from, to, count]. */
function histogram(label, columns) {
  const all = columns.reduce((sum, column) => sum + column[2], 0);
  const draw = (width) => {
    const height = width < 500 ? 190 : 230;
    const ticks = steps(Math.max(...columns.map((column) => column[2])), 4, true);
    const top = ticks[ticks.length - 1];
    const left = Math.max(30, short(top).length * 7 + 14);
    const box = { left: left, right: width - 8, top: 24, bottom: height - 40 };
    const y = (value) => box.bottom - (box.bottom - box.top) * value / top;
    const step = (box.right - box.left) / columns.length;
    const grid = ticks.map((value) => svg('g', null,
      svg('line', { class: value === 0 ? 'axis' : 'grid-line', x1: box.left, x2: box.right, y1: y(value), y2: y(value) }),
      svg('text', { class: 'tick', x: box.left - 6, y: y(value) + 4, 'text-anchor': 'end' }, short(value))));
    const every = Math.max(1, Math.ceil(54 / step));
    const bars = columns.map(([from, to, count], index) => {
      const x = box.left + step * index;
      const part = svg('g', null,
        svg('rect', { class: 'column done', x: x + 1, y: y(count), width: Math.max(1, step - 2), height: box.bottom - y(count) }),
        index % every === 0 ? svg('text', { class: 'tick', x: x, y: box.bottom + 15, 'text-anchor': index === 0 ? 'start' : 'middle' }, tick(from)) : null,
        svg('rect', { class: 'spot', x: x, y: box.top, width: step, height: box.bottom - box.top }));
      return hover(part, () => [tick(from) + ' to ' + tick(to), counted(count, 'request') + ' (' + percent(count, all) + ')']);
    });
    return svg('svg', { width: width, height: height, viewBox: '0 0 ' + width + ' ' + height },
      svg('text', { class: 'unit', x: 0, y: 12 }, 'requests'), grid, bars,
      svg('text', { class: 'unit', x: box.right, y: box.bottom + 33, 'text-anchor': 'end' }, 'working time of a request (the columns widen)'));
  };
  const values = () => table([
    { title: 'from', cell: (column) => tick(column[0]) },
    { title: 'to', number: true, cell: (column) => tick(column[1]) },
    { title: 'requests', number: true, cell: (column) => integer(column[2]) },
  ], columns, label);
  return chart(label, draw, values);
}
