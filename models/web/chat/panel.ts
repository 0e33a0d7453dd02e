/** @file The panel that chats: first it loads a language model, then it asks that, dense and sparse. */
import {
  PROJECTIONS,
  deviceMemory,
  type Generation,
  type LanguageModelSource,
  type PageLanguageModel,
} from 'tfjs-sparsify/language';
import {element, shareSlider} from '../shell/elements.js';
import {attempts} from '../shell/failure.js';
import {bytesInWords, percent, speedInWords} from '../shell/words.js';
import {streamAnswer} from './answer.js';
import {keptModels} from './kept-models.js';
import {latest} from './latest.js';
import {loadWithProgress} from './load.js';
import {Messages, type Mode} from './messages.js';
import {offeredModel} from './offered-model.js';
import {perplexityInWords} from './perplexity.js';

/** Sequences of a text of the visitor's that thresholds are found on. */
const CALIBRATION = {sequences: 8, sequenceLength: 128};

/** Of an answer, for its speed to mean something. */
const LEAST_TOKENS = 16;

/** Connects the panel's controls, and says what could be loaded. */
export async function startChatPanel(): Promise<void> {
  await new ChatPanel().start();
}

class ChatPanel {
  private readonly attempt = attempts('chat-error');
  private readonly loadButton = element('load-chat', HTMLButtonElement);
  private readonly file = element('chat-file', HTMLInputElement);
  private readonly before = element('chat-before', HTMLElement);
  private readonly facts = element('chat-facts', HTMLElement);
  private readonly bytes = element('chat-bytes', HTMLElement);
  private readonly speed = element('chat-speed', HTMLElement);
  private readonly perplexity = element('perplexity', HTMLElement);
  private readonly question = element('question', HTMLTextAreaElement);
  private readonly text = element('text', HTMLTextAreaElement);
  private readonly messages = new Messages(element('messages', HTMLElement));
  /** Usable while nothing runs. */
  private readonly starters = ['send', 'compare', 'forget', 'measure-text', 'find-thresholds'].map((id) =>
    element(id, HTMLButtonElement),
  );
  /** Usable while something runs. */
  private readonly stops = ['stop', 'stop-text'].map((id) => element(id, HTMLButtonElement));
  private readonly showKept = keptModels(this.attempt);
  private share = () => 0;
  private lm: PageLanguageModel | null = null;
  private chats = true;
  private running: AbortController | null = null;

  async start(): Promise<void> {
    const retarget = latest((share: number) => this.attempt(() => this.retarget(share)));
    this.share = shareSlider('chat-sparsity', retarget);
    this.file.addEventListener('change', () => {
      const [file] = this.file.files ?? [];
      if (file !== undefined) this.load(file.name, file);
    });
    element('ask', HTMLFormElement).addEventListener('submit', (event) => {
      event.preventDefault();
      this.ask(['sparse']);
    });
    this.question.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      if (this.running === null) this.ask(['sparse']);
    });
    element('compare', HTMLButtonElement).addEventListener('click', () => this.ask(['dense', 'sparse']));
    element('forget', HTMLButtonElement).addEventListener('click', () => {
      this.messages.clear();
      this.speed.textContent = '';
    });
    element('score', HTMLFormElement).addEventListener('submit', (event) => {
      event.preventDefault();
      this.measureText();
    });
    element('find-thresholds', HTMLButtonElement).addEventListener('click', () => this.findThresholds());
    for (const stop of this.stops) stop.addEventListener('click', () => this.running?.abort());
    await this.offer();
    await this.attempt(() => this.showKept());
  }

  private async offer(): Promise<void> {
    const offered = await offeredModel();
    if ('reason' in offered) {
      this.before.textContent = `There is no language model beside this page: ${offered.reason}. A .gguf file of yours can be loaded.`;
      return;
    }
    const {name, path, bytes, memoryBytes} = offered;
    this.before.textContent =
      `${name}: ${bytesInWords(bytes)}, fetched once and then kept in this browser. ` +
      `It takes about ${bytesInWords(memoryBytes)} of memory; this device may give ${bytesInWords(deviceMemory())}.`;
    this.loadButton.disabled = false;
    this.loadButton.addEventListener('click', () => this.load(name, path));
  }

  private load(name: string, source: LanguageModelSource): void {
    this.loadButton.disabled = true;
    this.file.disabled = true;
    void this.attempt(async () => {
      try {
        await this.use(name, await loadWithProgress(source));
      } finally {
        await this.showKept();
      }
    }).finally(() => {
      this.loadButton.disabled = false;
      this.file.disabled = false;
      this.file.value = '';
    });
  }

  private async use(name: string, lm: PageLanguageModel): Promise<void> {
    this.lm?.dispose();
    this.lm = lm;
    this.messages.clear();
    this.question.disabled = !lm.hasTokenizer;
    element('chat-ready', HTMLElement).hidden = false;
    await this.showFacts(name);
    const isSparse = (await lm.inspect()).some(({sparsified}) => sparsified);
    this.showSparse(isSparse);
    this.chats = await hasChatTemplate(lm);
    element('question-name', HTMLElement).textContent = this.chats
      ? 'Your message'
      : 'The beginning of a text, which the model goes on with (it was not trained to chat)';
    if (isSparse) await this.retarget(this.share());
    else this.bytes.textContent = 'This model is dense. Thresholds can be found on a text of yours, below.';
  }

  private showSparse(isSparse: boolean): void {
    element('chat-slider', HTMLElement).hidden = !isSparse;
    element('find-thresholds', HTMLElement).hidden = isSparse;
  }

  private async showFacts(name: string): Promise<void> {
    const {backend} = this.lm!;
    const {tensorBytes} = await this.lm!.memory();
    this.facts.textContent = `${name} on ${backend.name}, ${backend.why}; ${bytesInWords(tensorBytes)} of tensors.`;
  }

  private async retarget(share: number): Promise<void> {
    await this.lm?.retarget({[PROJECTIONS.all]: share});
    await this.showBytes();
  }

  private async showBytes(): Promise<void> {
    if (this.lm === null) return;
    const {dense, sparse} = await this.lm.bytesPerToken();
    this.bytes.textContent = `A token reads ${bytesInWords(sparse)} of weights; dense ${bytesInWords(dense)} (${percent(1 - sparse / dense)} less).`;
  }

  private ask(modes: readonly Mode[]): void {
    const content = this.question.value.trim();
    if (content === '') return;
    this.run(async (lm, signal) => {
      this.question.value = '';
      this.speed.textContent = '';
      this.messages.ask(content);
      const places = this.messages.open(modes);
      const prompt = this.chats ? this.messages.prompt : content;
      let answer = '';
      const generations: Generation[] = [];
      try {
        for (const [i, mode] of modes.entries()) {
          const generation = await streamAnswer(lm, prompt, mode, places[i], signal);
          answer = generation.text;
          generations.push(generation);
          this.speed.textContent = `First token after ${(generation.timeToFirstTokenMs / 1000).toFixed(2)} s.`;
        }
      } finally {
        this.messages.close(answer);
      }
      if (generations.length === 2) this.speed.textContent = comparison(generations);
      await this.showBytes();
    });
  }

  private measureText(): void {
    this.run(async (lm, signal) => {
      const show = (line: string) => {
        this.perplexity.textContent = line;
      };
      try {
        show(await perplexityInWords(lm, this.text.value, show, signal));
      } catch (error) {
        show('');
        throw error;
      }
    });
  }

  private findThresholds(): void {
    this.run(async (lm, signal) => {
      this.perplexity.textContent = 'Finding thresholds…';
      try {
        await lm.sparsify(this.text.value, {
          targetSparsityByScope: {[PROJECTIONS.all]: this.share()},
          ...CALIBRATION,
          signal,
          onProgress: ({done}) => {
            this.perplexity.textContent = `Finding thresholds: ${done} sequences…`;
          },
        });
      } finally {
        this.perplexity.textContent = '';
      }
      this.showSparse(true);
      await this.showBytes();
    });
  }

  /** One thing at a time, which the stop buttons end. */
  private run(action: (lm: PageLanguageModel, signal: AbortSignal) => Promise<void>): void {
    const {lm} = this;
    if (lm === null || this.running !== null) return;
    const running = new AbortController();
    this.running = running;
    this.showRunning(true);
    void this.attempt(async () => {
      try {
        await action(lm, running.signal);
      } catch (error) {
        if (!running.signal.aborted) throw error;
      }
    }).finally(() => {
      this.running = null;
      this.showRunning(false);
    });
  }

  private showRunning(isRunning: boolean): void {
    for (const button of this.starters) button.disabled = isRunning;
    for (const button of this.stops) button.disabled = !isRunning;
  }
}

/** Whether the model says how it was trained to chat; without that it only continues texts. */
async function hasChatTemplate(lm: PageLanguageModel): Promise<boolean> {
  try {
    await lm.encodePrompt([{role: 'user', content: 'Hello'}]);
    return true;
  } catch {
    return false;
  }
}

/** @param generations Dense, then sparse. */
function comparison([dense, sparse]: readonly Generation[]): string {
  if (Math.min(dense.tokens.length, sparse.tokens.length) < LEAST_TOKENS) {
    return 'An answer is too short to tell which is faster: ask for a longer one.';
  }
  const [one, other] = [dense.tokensPerSecond, sparse.tokensPerSecond];
  return `Dense ${one.toFixed(1)}, sparse ${other.toFixed(1)} tokens a second. ${speedInWords(1000 / one, 1000 / other)}`;
}
