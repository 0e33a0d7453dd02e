import {expect} from 'chai';
import {compressWeights} from '../../../lib/index.js';
import type {Decoder} from '../../../lib/language/decoding/decoder.js';
import {stepTogether} from '../../../lib/language/decoding/step-together.js';
import {disposeModels, withoutLeaks} from '../../support/backends.js';
import {randomModel, sparsifyEverything} from '../../support/language/loaded-models.js';
import {tinyModel} from '../../support/language/tiny-model.js';
import {BFLOAT16_TOLERANCE, TOLERANCE, meanError} from '../../support/language/logit-errors.js';
import {describeNative, native} from '../../support/language/native-decoders.js';
import {randomIds, smallConfigs} from '../../support/language/random-checkpoint.js';
import {rejection} from '../../support/rejection.js';
import {
  argmax,
  expectedOf,
  relativeError,
  TINY_CHECKPOINTS,
} from '../../support/language/tiny-checkpoints.js';

/**
 * Steps sequences of different length together; they join one after another and leave when their ids end.
 *
 * @param sequences Ids by decoder, whose first half is a prompt, at least one token.
 * @param check Is given the logits after each of the others: of which sequence, and after how many of its ids.
 */
async function stepAll(
  decoders: Decoder[],
  sequences: number[][],
  check: (logits: Float32Array, sequence: number, length: number) => void,
): Promise<void> {
  for (let step = 0, joined = 0; ; step++) {
    if (joined < decoders.length && step % 3 === 0) {
      const {length} = sequences[joined];
      await decoders[joined].append(sequences[joined].slice(0, length >> 1));
      joined++;
    }
    const members = decoders
      .map((_decoder, i) => i)
      .filter((i) => i < joined && decoders[i].length < sequences[i].length)
      .sort((a, b) => (step % 2 === 0 ? a - b : b - a));
    if (members.length === 0 && joined === decoders.length) return;
    if (members.length === 0) continue;
    const steps = members.map((i) => ({decoder: decoders[i], token: sequences[i][decoders[i].length]}));
    const logits = await stepTogether(steps);
    members.forEach((i, at) => check(logits[at], i, decoders[i].length));
  }
}

describeNative('native decoders that step together', () => {
  withoutLeaks(() => {
    for (const name of TINY_CHECKPOINTS) {
      it(`continues prompts of ${name} together as each alone, token for token`, async () => {
        const {model, config} = await tinyModel(name);
        const {input_ids, greedy_ids} = expectedOf(name);
        for (const sparse of [false, true]) {
          if (sparse) sparsifyEverything(model);
          // The reference's prompt, and parts of it; every sequence chooses its own tokens.
          const prompts = [0, 3, 1, 5].map((start) => input_ids[0].slice(start));
          const texts: number[][] = [];
          for (const prompt of prompts) {
            const decoder = native(model, config);
            let logits = await decoder.append(prompt);
            const text = [];
            for (let i = 0; i < greedy_ids.length; i++) {
              text.push(argmax(logits));
              logits = await decoder.append(text.slice(-1));
            }
            texts.push(text);
            decoder.dispose();
          }
          if (!sparse) expect(texts[0]).to.deep.equal(greedy_ids);
          const decoders = prompts.map(() => native(model, config));
          const got: number[][] = [];
          for (const [i, decoder] of decoders.entries()) got.push([argmax(await decoder.append(prompts[i]))]);
          for (let step = 0; got.some(({length}) => length < greedy_ids.length); step++) {
            const members = [0, 1, 2, 3].filter((i) => step >= i && got[i].length < greedy_ids.length);
            const logits = await stepTogether(
              members.map((i) => ({decoder: decoders[i], token: got[i].at(-1)!})),
            );
            members.forEach((i, at) => got[i].push(argmax(logits[at])));
          }
          expect(got).to.deep.equal(texts);
          for (const decoder of decoders) decoder.dispose();
        }
        disposeModels(model);
      });
    }

    for (const [title, config] of smallConfigs()) {
      for (const int8 of [false, true]) {
        for (const sparse of [false, true]) {
          it(`steps sequences of ${title} together, ${int8 ? 'INT8' : 'float32'}, ${sparse ? 'masked' : 'dense'}`, async () => {
            const model = await randomModel(config);
            if (int8) await compressWeights(model, {inPlace: true});
            if (sparse) sparsifyEverything(model);
            const sequences = [9, 70, 24, 2].map((length, i) =>
              randomIds(length, config.vocabularySize, 7 + i),
            );
            const alone = sequences.map((): number[][] => []); // by length
            const counts: ReturnType<Decoder['counts']>[] = [];
            for (const [i, ids] of sequences.entries()) {
              const decoder = native(model, config);
              await decoder.append(ids.slice(0, ids.length >> 1));
              for (const id of ids.slice(ids.length >> 1))
                alone[i][decoder.length + 1] = [...(await decoder.append([id]))];
              counts.push(decoder.counts());
              decoder.dispose();
            }
            const decoders = sequences.map(() => native(model, config));
            await stepAll(decoders, sequences, (logits, i, length) => {
              expect(relativeError(logits, alone[i][length])).to.be.below(TOLERANCE);
            });
            expect(decoders.map((decoder) => decoder.counts())).to.deep.equal(counts);
            for (const decoder of decoders) decoder.dispose();
            disposeModels(model);
          });
        }
      }
    }

    it('take a step with decoders of other models and storage, and keep others when one cannot', async () => {
      const config = smallConfigs().get('llama with llama3 scaling')!;
      const ids = randomIds(40, config.vocabularySize, 9);
      const model = await randomModel(config);
      const other = await randomModel(config, 8);
      sparsifyEverything(model);
      const [wide, narrow] = [{}, {weights: 'bfloat16', cache: 'bfloat16'}] as const;
      const kinds = [
        [model, wide],
        [other, wide],
        [model, narrow],
        [model, wide],
        [other, narrow],
        [model, narrow],
      ] as const;
      const decoders = kinds.map(([which, options]) => native(which, config, options));
      const expected: number[][] = [];
      for (const [i, decoder] of decoders.entries()) {
        await decoder.append(ids.slice(0, 5 + i));
        expected.push([...(await decoder.append([ids[20 + i]], {dense: i === 3}))]);
        decoder.truncate(5 + i);
      }
      const steps = decoders.map((decoder, i) => ({decoder, token: ids[20 + i], dense: i === 3}));
      const logits = await stepTogether(steps);
      logits.forEach((got, i) => expect(meanError(got, expected[i])).to.be.below(BFLOAT16_TOLERANCE));
      logits.slice(0, 2).forEach((got, i) => expect(relativeError(got, expected[i])).to.be.below(TOLERANCE));
      const lengths = decoders.map(({length}) => length);
      const wrong = [...steps.slice(0, 5), {...steps[5], token: config.vocabularySize}];
      await rejection(() => stepTogether(wrong), 'bad-token');
      expect(decoders.map(({length}) => length)).to.deep.equal(lengths);
      const running = decoders[0].append([1]);
      await rejection(() => stepTogether(steps), 'decoder-busy');
      await running;
      decoders[0].dispose();
      await rejection(() => stepTogether(steps), 'decoder-disposed');
      expect(decoders.slice(1, 5).map(({length}) => length)).to.deep.equal(lengths.slice(1, 5));
      for (const decoder of decoders) decoder.dispose();
      disposeModels(model, other);
    });
  });
});
