/** @file The read bandwidth of the machine, measured in between other measurements. */
import {nativeKernels} from '../../../lib/backend/native.js';

/** One reading. */
const READ_BYTES = 2 ** 26;
/** Parts of the buffer, read in turn, so that no cache holds the next one. */
const PARTS = 4;

/** Reads memory that no cache holds, with the threads of the native kernels; without those it measures nothing. */
export class BandwidthMeter {
  /** Bytes a second, one for each call of `measure`. */
  readonly samples: number[] = [];
  private buffer: Float32Array | undefined;
  private part = 0;

  measure(): void {
    const native = nativeKernels();
    if (native === undefined) return;
    const length = READ_BYTES / 4;
    this.buffer ??= new Float32Array(PARTS * length).fill(1);
    this.part = (this.part + 1) % PARTS;
    this.samples.push(
      native.readBandwidth(this.buffer.subarray(this.part * length, (this.part + 1) * length)),
    );
  }
}
