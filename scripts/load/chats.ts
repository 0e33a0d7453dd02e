/** @file Tokens a second of one chat, and of four at a time, with the same prompts. */
import {median} from '../../lib/eval/latency.js';
import {Client} from './client.js';
import {ServerProcess} from './server-process.js';

export interface ChatReport {
  /** Generated tokens a second, all chats together, prompts included in the time; medians over the rounds. */
  readonly one: number;
  readonly four: number;
  readonly gain: number;
}

const PROMPTS = [
  'Tell a story about a lighthouse.',
  'Explain how bread is baked.',
  'Describe a walk through a forest.',
  'Write about the history of clocks.',
];
const TOKENS = 96;

/**
 * Measures with nothing else running; the server has one worker.
 *
 * @param model What `serve` takes as PATH, of a language model that can chat.
 */
export async function chats(model: string, rounds: number): Promise<ChatReport> {
  const server = await ServerProcess.start([`chat=${model}`]);
  const client = new Client(server.url, PROMPTS.length);
  try {
    const rates = {one: [] as number[], four: [] as number[]};
    for (let round = 0; round <= rounds; round++) {
      // A prompt of its own each time: what an earlier one left in the cache is not used again.
      const prompts = PROMPTS.map((prompt) => `${round}: ${prompt}`);
      const one = await tokensPerSecond(client, [prompts[round % PROMPTS.length]]);
      const four = await tokensPerSecond(client, prompts);
      if (round === 0) continue; // warm-up
      rates.one.push(one);
      rates.four.push(four);
    }
    const gain = median(rates.four.map((rate, i) => rate / rates.one[i]));
    return {one: median(rates.one), four: median(rates.four), gain};
  } finally {
    client.close();
    await server.stop();
  }
}

async function tokensPerSecond(client: Client, prompts: readonly string[]): Promise<number> {
  const start = performance.now();
  const counts = await Promise.all(
    prompts.map(async (content) => {
      const messages = [{role: 'user', content}];
      const body = JSON.stringify({model: 'chat', messages, max_tokens: TOKENS, temperature: 0});
      const {status, bytes} = await client.ask({path: '/v1/chat/completions', body});
      if (status !== 200) throw new Error(`answered ${status}: ${bytes.toString().slice(0, 200)}`);
      return (JSON.parse(bytes.toString()) as {usage: {completion_tokens: number}}).usage.completion_tokens;
    }),
  );
  const tokens = counts.reduce((sum, count) => sum + count, 0);
  return (1000 * tokens) / (performance.now() - start);
}
