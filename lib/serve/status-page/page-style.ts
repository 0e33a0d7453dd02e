/** @file The status page's style, dark and light. */
export const STYLE = `
:root{color-scheme:light dark;--paper:#fff;--card:#f6f7f9;--ink:#1b1f24;--muted:#5a6472;--line:#d5dae1;--accent:#2563b8;--on-accent:#fff;--bad:#b4270f;--good:#1c7a4c}
@media (prefers-color-scheme:dark){:root{--paper:#14171b;--card:#1c2026;--ink:#e6e9ee;--muted:#9aa5b3;--line:#363d47;--accent:#6ea8fe;--on-accent:#10141a;--bad:#f58080;--good:#4fc993}}
*{box-sizing:border-box}
[hidden]{display:none!important}
body{margin:0 auto;max-width:70rem;padding:1rem clamp(.9rem,3vw,2.5rem) 4rem;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:anywhere}
header{display:flex;flex-wrap:wrap;align-items:baseline;gap:.2rem 1.2rem;border-bottom:1px solid var(--line);margin-bottom:1.2rem}
h1{font-size:1.4rem;margin:.4rem 0}
h2{font-size:1.15rem;margin:0}
#server{color:var(--muted);margin:0}
.model,#chat{background:var(--card);border:1px solid var(--line);border-radius:.7rem;padding:1rem 1.1rem;margin:0 0 1.2rem}
.model>header{border:0;margin:0 0 .5rem}
.state{font-size:.85rem;color:var(--muted)}
.state.available{color:var(--good)}.state.failed{color:var(--bad)}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(7rem,1fr));gap:.4rem 1rem;margin:0 0 .8rem}
.figures div{display:flex;flex-direction:column-reverse}
.figures dt{color:var(--muted);font-size:.85rem}
.figures dd{margin:0;font-size:1.25rem;font-variant-numeric:tabular-nums;line-height:1.2}
.rate{width:100%;height:3rem;display:block;margin:.2rem 0 .8rem}
.rate polyline{fill:none;stroke:var(--accent);stroke-width:1.5;vector-effect:non-scaling-stroke}
.rate line{stroke:var(--line);vector-effect:non-scaling-stroke}
.kind{margin:.7rem 0}
.kind b{font-weight:600;font-size:.9rem}
.kind>span{color:var(--muted);font-size:.85rem;margin-left:.6rem}
.bars{display:flex;align-items:flex-end;gap:1px;height:2.6rem;border-bottom:1px solid var(--line);max-width:44rem}
.bar{flex:1 1 0;min-width:1px;max-width:1.4rem;height:100%;position:relative}
.bar i{position:absolute;left:0;right:0;bottom:0;background:var(--accent);opacity:.8}
.bar u{position:absolute;left:0;right:0;height:2px;background:var(--ink)}
.layers{display:grid;grid-template-columns:minmax(6rem,max-content) minmax(5rem,24rem) max-content;gap:.3rem .8rem;align-items:center;font-size:.9rem}
.across{height:.9rem;position:relative;border-left:1px solid var(--line)}
.across i{position:absolute;inset:0 auto 0 0;background:var(--accent);opacity:.8}
.across u{position:absolute;top:-2px;bottom:-2px;width:2px;background:var(--ink)}
.note{color:var(--muted);font-size:.85rem;margin:.3rem 0}
.error{color:var(--bad)}
.options{display:flex;flex-wrap:wrap;gap:.5rem 1.2rem;margin:.6rem 0;align-items:center;font-size:.9rem}
input,select,textarea,button{font:inherit;color:inherit;background:var(--paper);border:1px solid var(--line);border-radius:.4rem;padding:.3rem .6rem}
input[type=number]{width:5.5rem}
textarea{width:100%;resize:vertical}
button{cursor:pointer;margin-right:.5rem}
button:disabled{opacity:.5;cursor:default}
#chat-send{background:var(--accent);color:var(--on-accent);border-color:var(--accent)}
:focus-visible{outline:2px solid var(--accent);outline-offset:1px}
#chat-form{margin-top:.8rem}
.question{margin:.8rem 0 .4rem;font-weight:600;white-space:pre-wrap}
.answers{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,16rem),1fr));gap:.8rem}
.answer{border:1px solid var(--line);border-radius:.5rem;padding:.5rem .8rem;background:var(--paper);min-width:0}
.answer h3{font-size:.85rem;margin:0 0 .3rem;display:flex;justify-content:space-between;gap:.6rem;color:var(--muted);font-variant-numeric:tabular-nums}
.answer h3 b{color:var(--ink)}
.answer p{white-space:pre-wrap;margin:0;min-height:1.5em}
`;
