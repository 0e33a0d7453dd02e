/** @file Starts the page: TensorFlow.js, then its panels, and last what keeps its files. */
import {startChatPanel} from './chat/panel.js';
import {startDigitPanel} from './digit/panel.js';
import {startOwnPanel} from './own/panel.js';
import {element} from './shell/elements.js';
import {keepPageFiles} from './shell/page-files.js';
import {startBackend} from './shell/start-backend.js';
import {failureInWords} from './shell/words.js';

const machine = element('machine', HTMLElement);
const chat = startChatPanel(); // it computes in a worker of its own
try {
  machine.textContent = await startBackend();
  startOwnPanel();
  await startDigitPanel();
} catch (error) {
  machine.textContent = failureInWords(error);
}
await chat;
await keepPageFiles();
