import {expect} from 'chai';
import type * as tf from '@tensorflow/tfjs';
import type {Decoder} from '../../../lib/language/decoding/decoder.js';
import {DecoderSession} from '../../../lib/language/decoding/decoder-session.js';
import {createGraphDecoder} from '../../../lib/language/decoding/graph-decoder.js';
import {stepTogether} from '../../../lib/language/decoding/step-together.js';
import {disposeModels, withoutLeaks} from '../../support/backends.js';
import {randomModel} from '../../support/language/loaded-models.js';
import {randomIds, smallConfigs} from '../../support/language/random-checkpoint.js';
import {rejection} from '../../support/rejection.js';

const CONFIG = smallConfigs().get('llama with llama3 scaling')!;
const IDS = randomIds(30, CONFIG.vocabularySize, 3);

// Of decoders that cannot go together, on whichever backend there is; those that can are in native-decoder-together.spec.ts.
describe('stepTogether', () => {
  withoutLeaks(() => {
    let model: tf.LayersModel;
    let decoders: Decoder[];

    beforeEach(async () => {
      model = await randomModel(CONFIG);
      decoders = [0, 1, 2].map(() => createGraphDecoder(model, CONFIG));
      for (const [i, decoder] of decoders.entries()) await decoder.append(IDS.slice(0, 4 + i));
    });
    afterEach(() => {
      for (const decoder of decoders) decoder.dispose();
      disposeModels(model);
    });

    it('gives each the logits that append gives', async () => {
      const logits = await stepTogether(decoders.map((decoder, i) => ({decoder, token: IDS[10 + i]})));
      expect(decoders.map(({length}) => length)).to.deep.equal([5, 6, 7]);
      for (const [i, decoder] of decoders.entries()) {
        decoder.truncate(4 + i);
        expect(logits[i]).to.deep.equal(await decoder.append([IDS[10 + i]]));
      }
    });

    it('leaves all sequences as they were when one cannot go on', async () => {
      const steps = decoders.map((decoder, i) => ({decoder, token: i === 2 ? -1 : 1}));
      await rejection(() => stepTogether(steps), 'bad-token');
      expect(decoders.map(({length}) => length)).to.deep.equal([4, 5, 6]);
    });

    it('refuses no steps, and two of one sequence', async () => {
      await rejection(() => stepTogether([]), 'empty-input');
      const step = {decoder: decoders[0], token: 1};
      await rejection(() => stepTogether([step, step]), 'decoder-twice');
    });

    it('keeps the tokens of sessions, so that their prompts are reused', async () => {
      const sessions = decoders.slice(0, 2).map((decoder) => new DecoderSession(decoder));
      const prompts = [IDS.slice(0, 7), IDS.slice(5, 9)];
      for (const [i, session] of sessions.entries()) await session.prefill(prompts[i], 'sparse');
      await DecoderSession.nextTogether(
        sessions.map((session, i) => ({
          session,
          id: i + 1,
          policy: 'sparse',
          promptLength: prompts[i].length,
        })),
      );
      sessions.forEach((session, i) => {
        expect(session.reusable([...prompts[i], i + 1, 9], 'sparse')).to.equal(prompts[i].length + 1);
      });
    });
  });
});
