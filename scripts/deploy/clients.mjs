/**
 * @file Tries a running server with the `openai` package of npm, which others wrote: whole and streamed answers, models,
 * errors, and a client that goes away.
 *
 * Usage: node scripts/deploy/clients.mjs URL FOLDER
 *
 * URL is the server's, which has a language model named `chat`; FOLDER is where `npm install openai` was run.
 */
import assert from 'node:assert/strict';
import {createRequire} from 'node:module';
import {join} from 'node:path';

const [url, folder] = process.argv.slice(2);
if (folder === undefined) {
  console.error('Usage: node scripts/deploy/clients.mjs URL FOLDER');
  process.exit(2);
}
const {OpenAI} = createRequire(join(folder, 'package.json'))('openai');
const client = new OpenAI({baseURL: `${url}/v1`, apiKey: 'none'});

const models = [];
for await (const {id} of client.models.list()) models.push(id);
assert.ok(models.includes('chat'));
assert.equal((await client.models.retrieve('chat')).id, 'chat');

const messages = [{role: 'user', content: 'Name three colours.'}];
const asked = {model: 'chat', messages, max_tokens: 20, temperature: 0};
const whole = await client.chat.completions.create(asked);
const stream = await client.chat.completions.create({
  ...asked,
  stream: true,
  stream_options: {include_usage: true},
});
let text = '';
let usage;
for await (const chunk of stream) {
  text += chunk.choices[0]?.delta.content ?? '';
  usage = chunk.usage ?? usage;
}
assert.equal(text, whole.choices[0].message.content);
assert.deepEqual(usage, whole.usage);

const completion = {model: 'chat', prompt: 'Once', max_tokens: 8, seed: 7, top_p: 0.9, stop: ['\n']};
const [first, second] = [1, 2].map(() => client.completions.create(completion));
assert.equal((await first).choices[0].text, (await second).choices[0].text);

await assert.rejects(client.chat.completions.create({...asked, model: 'nope'}), OpenAI.NotFoundError);
await assert.rejects(client.chat.completions.create({...asked, temperature: -1}), OpenAI.BadRequestError);

const long = await client.chat.completions.create({...asked, max_tokens: 500, stream: true});
for await (const chunk of long) {
  assert.ok(chunk.choices.length > 0);
  break; // the package ends the connection
}
// What was broken off computes no more: the next answer does not wait for it.
assert.equal((await client.chat.completions.create(asked)).choices[0].message.content, text);
console.log('openai (npm): ok');
