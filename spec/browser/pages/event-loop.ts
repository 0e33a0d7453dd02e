/** @file What gets its turn while a page or a worker works for long. */
import {nextTurn} from '../../../lib/event-loop.js';

/** Whether a message and a timer that are due are heard while turns are given away, and how many frames were drawn in those turns. */
export async function heardAmidTurns(turns: number) {
  const heard: string[] = [];
  const {port1, port2} = new MessageChannel();
  port1.onmessage = () => heard.push('message');
  port2.postMessage(null);
  setTimeout(() => heard.push('timer'));
  let frames = 0;
  const frame = () => {
    frames++;
    requestAnimationFrame(frame);
  };
  if (typeof requestAnimationFrame === 'function') requestAnimationFrame(frame);
  const firstTurn = await nextTurn().then(() => [...heard]);
  for (let turn = 1; turn < turns; turn++) await nextTurn();
  port1.close();
  return {firstTurn, heard: heard.sort(), frames};
}

/** In which order turns are given that are asked for at once. */
export async function order(turns: number) {
  const given: number[] = [];
  await Promise.all(Array.from({length: turns}, async (_, i) => nextTurn().then(() => given.push(i))));
  return given;
}
