/** @file What the options of calibrating and measuring may hold. */
import {
  CALLBACK,
  SIGNAL,
  checkOptions,
  count,
  nested,
  type OptionRule,
  type OptionRules,
} from '../option-rules.js';
import {RunningThreshold} from '../stats/running-threshold.js';
import {checkCalibrationMethod, type CalibrationOptions} from './calibrate.js';
import type {RunOptions} from './recording-pass.js';
import type {TokenMaskOptions} from './token-mask.js';

const TOKEN_MASK_RULES: OptionRules<TokenMaskOptions> = {tokenMask: CALLBACK, skipLeadingTokens: count(0)};

export const RUN_RULES: OptionRules<RunOptions> = {
  ...TOKEN_MASK_RULES,
  onProgress: CALLBACK,
  signal: SIGNAL,
};

const CALIBRATION_RULES: OptionRules<CalibrationOptions> = {
  ...TOKEN_MASK_RULES,
  method: (value) => {
    if (value !== undefined) checkCalibrationMethod(value);
  },
  alpha: (value) => {
    if (value !== undefined) new RunningThreshold({alpha: value as number});
  },
};

/** A method, or its options. */
export const CALIBRATION: OptionRule = (value, option, whose) => {
  if (typeof value === 'string') checkCalibrationMethod(value);
  else nested(CALIBRATION_RULES)(value, option, whose);
};

/** Checks the options of a function that walks a data set. */
export function checkRunOptions(whose: string, options: unknown): void {
  checkOptions(whose, options, RUN_RULES);
}
