/**
 * @file The status page's script, as text that its page holds. It asks /status every second and builds the page from the
 * answer; what comes from the server is only ever put in as text.
 */
export const SCRIPT = String.raw`'use strict';
const $ = (id) => document.getElementById(id);
const make = (tag, attributes, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
};
const svg = (tag, attributes) => {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};
const percent = (share) => (100 * share).toFixed(1) + ' %';
const ms = (value) => value === null ? '–' : value >= 1000 ? (value / 1000).toFixed(1) + ' s' : value.toPrecision(3) + ' ms';

let key = sessionStorage.getItem('tfjs-sparsify-key') || '';
const headers = () => key === '' ? {} : {authorization: 'Bearer ' + key};
$('access').addEventListener('submit', (event) => {
  event.preventDefault();
  key = $('key').value;
  sessionStorage.setItem('tfjs-sparsify-key', key);
  $('access').hidden = true;
  refresh();
});

const HISTORY = 120;
const rates = new Map();
let timer;

async function refresh() {
  clearTimeout(timer);
  try {
    const response = await fetch('status', {headers: headers()});
    if (response.status === 401) {
      $('access').hidden = false;
      $('server').textContent = 'an API key is needed';
      return;
    }
    if (!response.ok) throw new Error('the server answers ' + response.status);
    show(await response.json());
  } catch (error) {
    $('server').textContent = 'no connection: ' + error.message;
  }
  timer = setTimeout(refresh, 1000);
}

function show(status) {
  const memory = status.workers.reduce((sum, worker) => sum + worker.residentBytes, 0);
  $('server').textContent = 'version ' + status.version + ' · ' + (status.ready ? 'ready' : 'not ready') + ' · ' +
    status.workers.length + (status.workers.length === 1 ? ' worker, ' : ' workers, ') + (memory / 1e6).toFixed(0) + ' MB';
  $('models').replaceChildren(...status.models.map(showModel));
  showChatModels(status.models);
}

function showModel(model) {
  const history = rates.get(model.name) || [];
  rates.set(model.name, [...history, model.requests.perSecond].slice(-HISTORY));
  const states = model.versions.map((version) => {
    const state = make('span', {class: 'state ' + version.state}, 'version ' + version.version + ': ' + version.state);
    if (version.error !== null) state.append(', ' + version.error);
    return state;
  });
  const {requests} = model;
  const figures = [
    ['requests a second', requests.perSecond.toFixed(1)], ['refused a second', requests.refusedPerSecond.toFixed(1)],
    ['latency, median', ms(requests.p50Ms)], ['latency, 99 %', ms(requests.p99Ms)],
    ['waiting', model.waiting], ['in all', requests.total.toLocaleString('en')],
  ].map(([title, value]) => make('div', {}, make('dt', {}, title), make('dd', {}, String(value))));
  return make('section', {class: 'model'}, make('header', {}, make('h2', {}, model.name), ...states),
    make('dl', {class: 'figures'}, ...figures), rateOf(rates.get(model.name)), ...sparsityOf(model));
}

function rateOf(history) {
  const highest = Math.max(1, ...history);
  const points = history.map((rate, i) => (HISTORY - history.length + i) + ',' + (39 - 36 * rate / highest)).join(' ');
  const plot = svg('svg', {class: 'rate', viewBox: '0 0 ' + (HISTORY - 1) + ' 40', preserveAspectRatio: 'none', role: 'img',
    'aria-label': 'requests a second over two minutes, at most ' + highest.toFixed(1)});
  plot.append(svg('line', {x1: 0, x2: HISTORY, y1: 39, y2: 39}), svg('polyline', {points}));
  return plot;
}

/** Each layer's target as a line, its actual sparsity as a bar. */
function sparsityOf({versions, sparsity}) {
  const served = versions.find((version) => version.state === 'available');
  const layers = served ? served.layers : [];
  if (layers.length === 0) return [make('p', {class: 'note'}, served ? 'dense: no layer is sparsified' : '')];
  const actuals = new Map((sparsity ? sparsity.layers : []).map((layer) => [layer.path, layer.actual]));
  const rows = layers.map(({path, target}) => ({path, target, actual: actuals.has(path) ? actuals.get(path) : null}));
  const what = sparsity ? 'actual sparsity ' + percent(sparsity.mean) + ', mean of ' + layers.length + ' layers'
    : layers.length + ' sparsified layers; the actual sparsity is measured with the first requests';
  const note = make('p', {class: 'note'}, what + '; a line is the target');
  return [note, ...(rows.length > 12 ? kindsOf(rows) : [listOf(rows)])];
}

function place(parent, {target, actual}, size, end) {
  if (actual !== null) {
    const bar = document.createElement('i');
    bar.style[size] = 100 * actual + '%';
    parent.append(bar);
  }
  if (target !== null) {
    const line = document.createElement('u');
    line.style[end] = 100 * target + '%';
    parent.append(line);
  }
  return parent;
}

const titleOf = ({path, target, actual}) => path + (actual === null ? '' : ': ' + percent(actual)) +
  (target === null ? '' : ', target ' + percent(target));

function listOf(rows) {
  return make('div', {class: 'layers'}, ...rows.flatMap((row) => [make('span', {}, row.path),
    place(make('span', {class: 'across', title: titleOf(row)}), row, 'width', 'left'),
    make('span', {}, row.actual === null ? '–' : percent(row.actual))]));
}

function kindsOf(rows) {
  const kinds = new Map();
  for (const row of rows) {
    const kind = row.path.replace(/^.*?(^|[./_])\d+(?=[./_]|$)[./_]?/, '').replace(/(^|[./_])\d+(?=[./_]|$)/g, '') || row.path;
    kinds.set(kind, [...(kinds.get(kind) || []), row]);
  }
  return [...kinds].map(([kind, members]) => {
    const known = members.filter(({actual}) => actual !== null);
    const mean = known.length === 0 ? '' : percent(known.reduce((sum, {actual}) => sum + actual, 0) / known.length) + ', ';
    const bars = members.map((row) => place(make('span', {class: 'bar', title: titleOf(row)}), row, 'height', 'bottom'));
    return make('div', {class: 'kind'}, make('b', {}, kind), make('span', {}, mean + members.length + ' layers'),
      make('div', {class: 'bars'}, ...bars));
  });
}

let chatModels = [];
let messages = [];
let stop = null;

function showChatModels(models) {
  const able = models.filter(({versions}) => versions.some((version) => version.state === 'available' && version.hasChat));
  $('chat').hidden = able.length === 0;
  const names = able.map(({name}) => name).join('\n');
  if (names !== chatModels.map(({name}) => name).join('\n')) {
    $('chat-model').replaceChildren(...able.map(({name}) => make('option', {value: name}, name)));
  }
  chatModels = able;
  $('chat-both').hidden = !isSparse($('chat-model').value);
}

function isSparse(name) {
  const model = chatModels.find((candidate) => candidate.name === name);
  const served = model && model.versions.find((version) => version.state === 'available');
  return served !== undefined && served.layers.length > 0;
}

$('chat-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const text = $('chat-text').value.trim();
  if (text === '' || stop !== null) return;
  const model = $('chat-model').value;
  const ways = !isSparse(model) ? ['dense'] : $('chat-dense').checked ? ['dense', 'sparse'] : ['sparse'];
  const answers = make('div', {class: 'answers'});
  $('turns').append(make('p', {class: 'question'}, text), answers);
  $('chat-text').value = '';
  stop = new AbortController();
  setBusy(true);
  messages.push({role: 'user', content: text});
  const boxes = ways.map((way) => {
    const speed = make('span', {}, 'waits');
    const said = make('p', {});
    answers.append(make('div', {class: 'answer'}, make('h3', {}, make('b', {}, way), speed), said));
    return {way, speed, said};
  });
  let last = '';
  try {
    for (const box of boxes) last = await answer(model, box);
    messages.push({role: 'assistant', content: last});
  } catch (error) {
    messages.pop();
    answers.append(make('p', {class: 'error'}, error.name === 'AbortError' ? 'stopped' : error.message));
  }
  stop = null;
  setBusy(false);
});

/** Streams one answer into its box, with its tokens a second: those after the first over the time since the first. */
async function answer(model, {way, speed, said}) {
  speed.textContent = 'reads the prompt…';
  const body = {model, messages, stream: true, stream_options: {include_usage: true}, temperature: 0,
    max_tokens: Number($('chat-tokens').value) || 128, sparse: way === 'sparse'};
  const response = await fetch('v1/chat/completions', {method: 'POST', signal: stop.signal,
    headers: {'content-type': 'application/json', ...headers()}, body: JSON.stringify(body)});
  if (!response.ok) throw new Error((await response.json()).error.message);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let [rest, text, pieces, first, last] = ['', '', 0, 0, 0];
  const rate = (tokens) => tokens < 2 || last === first ? '' : (1000 * (tokens - 1) / (last - first)).toFixed(1) + ' tokens a second';
  for (;;) {
    const {done, value} = await reader.read();
    if (done) return text;
    const lines = (rest + value).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith('data: ') || line === 'data: [DONE]') continue;
      const chunk = JSON.parse(line.slice(6));
      if (chunk.error) throw new Error(chunk.error.message);
      const piece = chunk.choices.length > 0 && chunk.choices[0].delta.content;
      if (piece) {
        last = performance.now();
        if (pieces++ === 0) first = last;
        text += piece;
        said.textContent = text;
        speed.textContent = rate(pieces);
      }
      if (chunk.usage) speed.textContent = rate(chunk.usage.completion_tokens) || chunk.usage.completion_tokens + ' tokens';
    }
  }
}

function setBusy(isBusy) {
  $('chat-send').disabled = isBusy;
  $('chat-stop').hidden = !isBusy;
}
$('chat-stop').addEventListener('click', () => stop && stop.abort());
$('chat-clear').addEventListener('click', () => {
  if (stop) stop.abort();
  messages = [];
  $('turns').replaceChildren();
});
$('chat-text').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $('chat-form').requestSubmit();
  }
});
refresh();
`;
