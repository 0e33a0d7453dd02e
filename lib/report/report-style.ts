/** @file The report's style: dark and light by what the reader prefers, one column on a phone, whole on paper. */
import {SERIES} from './series.js';

const LIGHT_SERIES = [
  '#2563b8',
  '#c2571a',
  '#1c8a5a',
  '#b3306b',
  '#7a4fc4',
  '#937312',
  '#12849c',
  '#c43c3c',
  '#5d7a1e',
  '#6b7280',
];
const DARK_SERIES = [
  '#6ea8fe',
  '#f2995a',
  '#4fc993',
  '#f078ad',
  '#b395f5',
  '#d9b64a',
  '#4cc3dc',
  '#f58080',
  '#a3c957',
  '#a4acb9',
];

const LIGHT = `--paper:#fff;--card:#f6f7f9;--ink:#1b1f24;--muted:#5a6472;--line:#d5dae1;--accent:#2563b8;--masked:#b9c0ca;--warn:#b4470f;${series(LIGHT_SERIES)}`;
const DARK = `--paper:#14171b;--card:#1c2026;--ink:#e6e9ee;--muted:#9aa5b3;--line:#363d47;--accent:#6ea8fe;--masked:#4a5360;--warn:#f2995a;${series(DARK_SERIES)}`;

/** Goes into the page's only style element. */
export const STYLE = `
:root{color-scheme:light dark;${LIGHT}}
@media (prefers-color-scheme:dark){:root{${DARK}}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:76rem;padding:1.25rem clamp(.9rem,3vw,2.5rem) 4rem;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.7rem;line-height:1.2;margin:.4rem 0 .2rem}
h2{font-size:1.2rem;margin:2.4rem 0 .4rem;padding-top:.9rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:0 0 .3rem}
p{margin:.3rem 0 .8rem;max-width:46rem}
.note{color:var(--muted);font-size:.9rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.7rem;margin:1.2rem 0;padding:0;list-style:none}
.tiles li{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:.6rem .8rem}
.tiles b{display:block;font-size:1.45rem;line-height:1.25;font-variant-numeric:tabular-nums}
.tiles span{color:var(--muted);font-size:.85rem;line-height:1.3;display:block}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,20rem),1fr));gap:1.4rem 2rem;align-items:start}
figure{margin:0;min-width:0;break-inside:avoid;max-width:27rem}
.small-plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,11rem),1fr));gap:1rem 1.4rem;margin:1rem 0}
.small-plots figcaption{margin:0 0 .1rem}
.small-plots b{color:var(--ink);font-weight:600;font-size:.82rem}
figcaption{font-size:.9rem;color:var(--muted);margin-top:.3rem}
.plot{display:block;width:100%;height:auto;overflow:visible;color:var(--ink);font-size:10.5px}
.plot text{white-space:pre}
.scroll{overflow-x:auto;margin:.4rem 0 1rem;max-width:100%;background:linear-gradient(90deg,var(--paper) 40%,transparent) 0 0/2rem 100% no-repeat local,linear-gradient(270deg,var(--paper) 40%,transparent) 100% 0/2rem 100% no-repeat local,linear-gradient(90deg,var(--masked),transparent) 0 0/.5rem 100% no-repeat scroll,linear-gradient(270deg,var(--masked),transparent) 100% 0/.5rem 100% no-repeat scroll}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.92rem}
th,td{padding:.28rem .8rem .28rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line);overflow-wrap:normal}
th{font-weight:600;vertical-align:bottom}
th.n,td.n{text-align:right}
td.n{white-space:nowrap}
tbody th{font-weight:400;vertical-align:top}
td.path,th.path{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.82rem;overflow-wrap:anywhere;min-width:9rem}
thead th.path{font:inherit;font-weight:600}
tr.best td,tr.best th{font-weight:600}
details{margin:.5rem 0;border:1px solid var(--line);border-radius:.5rem;padding:.5rem .8rem}
summary{cursor:pointer;font-weight:600}
summary .note{font-weight:400}
.histograms{display:grid;grid-template-columns:repeat(auto-fill,minmax(8.5rem,1fr));gap:.9rem .9rem;margin:.8rem 0 .3rem}
.histograms.few{grid-template-columns:repeat(auto-fill,minmax(min(100%,15rem),1fr))}
.histograms figure{max-width:14rem}
.histograms.few figure{max-width:24rem}
.histograms figcaption{font-size:.75rem;line-height:1.3;margin-top:.1rem}
.histograms b{color:var(--ink);font-weight:600}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1rem;font-size:.85rem;color:var(--muted);margin:.2rem 0 .6rem;padding:0;list-style:none}
.legend i{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.4em;background:var(--c)}
.legend i.line{height:0;border-top:2px solid var(--c);background:none;vertical-align:.25em;width:1.2em;border-radius:0}
.legend i.dashed{border-top-style:dashed}
.legend i.ring{background:none;border:2px solid var(--c);border-radius:50%}
pre{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.6rem .8rem;white-space:pre-wrap;font-size:.85rem;margin:.3rem 0 .6rem}
.hash{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.78rem;display:block;min-width:9.5rem;overflow-wrap:anywhere}
@media (max-width:30rem){body{font-size:15px}th,td{padding-right:.55rem}.tiles{grid-template-columns:1fr 1fr}.small-plots{grid-template-columns:1fr 1fr}.tiles b{font-size:1.25rem}.histograms{grid-template-columns:repeat(auto-fill,minmax(6.6rem,1fr))}}
@media print{:root{color-scheme:light;${LIGHT}}table{font-size:.8rem}td.path,th.path{min-width:14rem}body{max-width:none;padding:0;font-size:10.5pt}details{border:0;padding:0}details::details-content{content-visibility:visible;block-size:auto}tr,.tiles li,pre{break-inside:avoid}h2,h3,summary,.legend,section>p{break-after:avoid}.plots{grid-template-columns:1fr 1fr}.histograms{grid-template-columns:repeat(6,1fr)}.scroll{overflow:visible;background:none}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
`;

function series(colors: readonly string[]): string {
  return colors
    .slice(0, SERIES)
    .map((color, i) => `--s${i}:${color};`)
    .join('');
}
