/**
 * @file The page of models/web, built and served on loopback: draw a digit, chat with a language model, try your own model,
 * dense and sparse beside each other.
 *
 * Usage: npm run web -- --help
 */
import {existsSync} from 'node:fs';
import {basename, join, resolve} from 'node:path';
import {parseArgs} from 'node:util';
import {inRoot} from './set-up/repository.mjs';
import type {ChatModel} from './web/build-page.js';

const HELP = `Usage: npm run web [-- OPTIONS]

Builds the page of models/web into dist-web/ and serves it on 127.0.0.1, with the headers that give a page threads.

  --port N         the port, 8080 by default; 0 for any that is free
  --model FOLDER   a saved language model to chat with, instead of SmolLM2
  --allow ORIGIN   a host beside its own that the page may load models from, https://example.org say; may be repeated
  --screenshot F   write a picture of the page to the file F, a PNG, and end; needs Chromium
  --build          only build dist-web/, which any static host can serve
  --help           this`;

const {values: options} = parseArgs({
  options: {
    port: {type: 'string', default: '8080'},
    model: {type: 'string'},
    allow: {type: 'string', multiple: true, default: []},
    build: {type: 'boolean', default: false},
    screenshot: {type: 'string'},
    help: {type: 'boolean', short: 'h', default: false},
  },
});

if (options.help) console.log(HELP);
else process.exitCode = await web();

async function web(): Promise<number> {
  const port = Number(options.port);
  if (!(Number.isInteger(port) && port >= 0 && port <= 65535)) {
    console.error(`--port is ${options.port}; it must be a whole number from 0 to 65535`);
    return 2;
  }
  const allowed: string[] = [];
  for (const given of options.allow) {
    if (!/^https?:\/\//.test(given) || !URL.canParse(given)) {
      console.error(`--allow is ${given}; it must be an origin: write https://example.org`);
      return 2;
    }
    allowed.push(new URL(given).origin);
  }
  if (options.model !== undefined && !existsSync(join(options.model, 'model.json'))) {
    console.error(
      `--model is ${options.model}, which holds no model.json; give a folder that a language model was saved to`,
    );
    return 2;
  }
  // What builds takes a while to load, which --help and a misspelt option need not wait for.
  const [{buildPage}, {servePage}] = await Promise.all([
    import('./web/build-page.js'),
    import('./web/serve-page.js'),
  ]);
  const folder = inRoot('dist-web');
  await buildPage({folder, chat: await chatModel(options.model), allowed});
  if (options.build) {
    console.log(`the page is in ${folder}`);
    return 0;
  }
  if (options.screenshot !== undefined) {
    await (await import('./web/screenshot.js')).takeScreenshot(folder, options.screenshot);
    return 0;
  }
  const {url} = await servePage(folder, port).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    throw new Error(`port ${port} is taken: write --port 0 for one that is free`, {cause: error});
  });
  console.log(`the page is at ${url} (Ctrl+C ends it)`);
  return 0;
}

async function chatModel(folder: string | undefined): Promise<ChatModel> {
  return folder === undefined
    ? (await import('./web/chat-model.js')).smollm2Int8()
    : {name: basename(resolve(folder)), folder: resolve(folder)};
}
