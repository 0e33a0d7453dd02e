/**
 * @file Draws the README's picture as SVG: two panels of bars. It brings a background of its own in dark and in light, since
 * a page may be of the other kind than what its reader's system prefers, which is what an image is told.
 */
import {escapeHtml} from '../../../lib/report/html.js';
import type {Bar, BarGroup, Figures, Kind} from './read-figures.js';

const WIDTH = 860;
const PANEL_WIDTH = 390;
const MARGIN = 24;
const BAR_HEIGHT = 18;
const BAR_STEP = 22;
const GROUP_GAP = 12;
const TOP = 74;
/** Where bars begin in a panel: behind the group's name and the bar's label. */
const BARS_AT = 190;
/** Room for the value behind the longest bar. */
const VALUE_WIDTH = 46;
const LABEL_AT = BARS_AT - 8;

const STYLE = `
svg{--paper:#fff;--ink:#1b1f24;--muted:#5a6472;--line:#d5dae1;--stock:#9aa3af;--llama:#c2571a;--dense:#8fb3e6;--sparse:#2563b8;--allocated:#1c8a5a}
@media (prefers-color-scheme:dark){svg{--paper:#14171b;--ink:#e6e9ee;--muted:#9aa5b3;--line:#363d47;--stock:#6b7480;--llama:#f2995a;--dense:#3f6ba8;--sparse:#6ea8fe;--allocated:#4fc993}}
text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:var(--ink)}
.title{font-size:16px;font-weight:600}
.muted{fill:var(--muted);font-size:12px}
.group{font-weight:600}`;

const COLOUR: Readonly<Record<Kind, string>> = {
  stock: 'var(--stock)',
  'llama.cpp': 'var(--llama)',
  dense: 'var(--dense)',
  sparse: 'var(--sparse)',
  allocated: 'var(--allocated)',
};

/** The picture as the text of an SVG file. */
export function drawPicture({tokensPerSecond, wordPerplexity}: Figures): string {
  const height = TOP + Math.max(heightOf(tokensPerSecond), heightOf(wordPerplexity)) + MARGIN;
  const label =
    'Tokens a second and word perplexity of SmolLM2-135M, dense and sparse: ' +
    [...tokensPerSecond, ...wordPerplexity]
      .map(({name, bars}) => `${name}: ${bars.map((bar) => `${bar.label} ${bar.text}`).join(', ')}`)
      .join('; ');
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escapeHtml(label)}">
<style>${STYLE}
</style>
<rect x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="8" fill="var(--paper)" stroke="var(--line)"/>
${panel(MARGIN, 'Tokens a second', 'SmolLM2-135M on two CPU cores; longer is better', tokensPerSecond)}
${panel(WIDTH - MARGIN - PANEL_WIDTH, 'Word perplexity', 'WikiText-2, whole test text; shorter is better', wordPerplexity)}
</svg>
`;
}

function panel(left: number, title: string, subtitle: string, groups: readonly BarGroup[]): string {
  const most = Math.max(...groups.flatMap(({bars}) => bars.map(({value}) => value)));
  const scale = (PANEL_WIDTH - BARS_AT - VALUE_WIDTH) / most;
  const drawn = [text(left, 34, title, 'title'), text(left, 53, subtitle, 'muted')];
  let y = TOP;
  for (const {name, bars} of groups) {
    drawn.push(text(left, y + BAR_HEIGHT - 5, name, 'group'));
    for (const bar of bars) {
      drawn.push(drawBar(left, y, bar, bar.value * scale));
      y += BAR_STEP;
    }
    y += GROUP_GAP;
  }
  return drawn.join('\n');
}

function drawBar(left: number, y: number, {label, kind, text: value}: Bar, width: number): string {
  const x = left + BARS_AT;
  const baseline = y + BAR_HEIGHT - 5;
  return [
    text(left + LABEL_AT, baseline, label, 'muted', 'end'),
    `<rect x="${x}" y="${y}" width="${width.toFixed(1)}" height="${BAR_HEIGHT}" rx="2" fill="${COLOUR[kind]}"/>`,
    text(Number((x + width + 6).toFixed(1)), baseline, value),
  ].join('\n');
}

function text(x: number, y: number, content: string, style = '', anchor = ''): string {
  const attributes = [style && ` class="${style}"`, anchor && ` text-anchor="${anchor}"`].join('');
  return `<text x="${x}" y="${y}"${attributes}>${escapeHtml(content)}</text>`;
}

function heightOf(groups: readonly BarGroup[]): number {
  const bars = groups.reduce((sum, {bars}) => sum + bars.length, 0);
  return bars * BAR_STEP + (groups.length - 1) * GROUP_GAP;
}
