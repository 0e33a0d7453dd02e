/**
 * @file A clock that stands still but in layers with the activation softsign, of which each call takes as long as a spec says:
 * so that what is made of times can be held to numbers.
 */
import * as tf from '@tensorflow/tfjs';

/** Says how many milliseconds a call takes, from the share of zeros in what the activation is given, and that. */
export type TimeOfCall = (zeros: number, z: Float32Array) => number;

/** The shares at which layers are timed; a random mask comes close to one of them. */
const SHARES = [0, 0.3, 0.5, 0.7, 0.9, 1];

/** Sets the clock of this process for each test; every call takes nothing until `takes` is told otherwise. */
export function softsignClock(): {takes(time: TimeOfCall): void} {
  const {activation} = tf.layers.dense({units: 1, activation: 'softsign'}) as unknown as {activation: object};
  const softsign = Object.getPrototypeOf(activation) as {apply(x: tf.Tensor): tf.Tensor};
  const {apply} = softsign; // eslint-disable-line @typescript-eslint/unbound-method -- called with its object below
  const now = performance.now.bind(performance);
  let clock = 0;
  let time: TimeOfCall = () => 0;
  beforeEach(() => {
    [clock, time] = [0, () => 0];
    performance.now = () => clock;
    softsign.apply = function (x) {
      const z = x.dataSync() as Float32Array;
      clock += time(nearest(z.filter((value) => value === 0).length / z.length), z);
      return apply.call(this, x);
    };
  });
  afterEach(() => {
    performance.now = now;
    softsign.apply = apply;
  });
  return {takes: (given) => void (time = given)};
}

/** A layer that gives the softsign of its input: what it masks is 0 in its output, and nothing else is. */
export const softsign = (name: string, units: number) =>
  tf.layers.dense({name, units, activation: 'softsign', useBias: false, kernelInitializer: 'identity'});

function nearest(share: number): number {
  return SHARES.reduce((best, at) => (Math.abs(at - share) < Math.abs(best - share) ? at : best));
}
