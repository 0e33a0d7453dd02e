/** @file The status page: one static HTML file with its style and script in it, which a policy names by their hashes. */
import {createHash} from 'node:crypto';
import {SCRIPT} from './page-script.js';
import {STYLE} from './page-style.js';

/** A page and the headers that it is sent with. */
export interface StatusPage {
  readonly html: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** The page; it holds nothing of the server it comes from, so it needs no key. */
export function statusPageHtml(): StatusPage {
  const policy = [
    "default-src 'none'",
    `script-src '${hashOf(SCRIPT)}'`,
    `style-src '${hashOf(STYLE)}'`,
    "connect-src 'self'",
    ...["base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"],
  ];
  const html = `<!doctype html>
<html lang="en"><head><meta charset="utf-8" /><meta name="viewport" content="width=device-width, initial-scale=1" />
<meta name="color-scheme" content="light dark" /><title>tfjs-sparsify</title><style>${STYLE}</style></head>
<body><header><h1>tfjs-sparsify</h1><p id="server" role="status">…</p></header>
<form id="access" hidden><label>API key <input id="key" type="password" autocomplete="off" required /></label> <button>Use</button></form>
<main id="models"></main>
<section id="chat" hidden><h2>Chat</h2>
<div class="options"><label>Model <select id="chat-model"></select></label>
<label>Tokens <input id="chat-tokens" type="number" min="1" max="4096" value="128" /></label>
<label id="chat-both"><input id="chat-dense" type="checkbox" checked /> dense beside sparse, one after the other</label></div>
<div id="turns" aria-live="polite"></div>
<form id="chat-form"><textarea id="chat-text" rows="2" placeholder="Ask the model…" aria-label="Message" required></textarea>
<div><button id="chat-send">Send</button><button id="chat-stop" type="button" hidden>Stop</button><button id="chat-clear" type="button">Clear</button></div></form>
</section><script>${SCRIPT}</script></body></html>
`;
  return {
    html,
    headers: {
      'content-security-policy': policy.join('; '),
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-cache',
    },
  };
}

function hashOf(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`;
}
