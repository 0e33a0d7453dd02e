/** @file Settings of mocha. A file that is named runs alone: to `spec` of its settings mocha would add it. */
const named = process.argv.slice(2).some((argument) => argument.endsWith('.ts'));

// Specs of wrong inputs make TensorFlow warn; who wants to read that sets the level.
process.env.TF_CPP_MIN_LOG_LEVEL ??= '2';

module.exports = {
  import: 'tsx',
  require: ['./spec/support/captured-output.ts', './spec/support/watchdog.ts'],
  spec: named ? [] : ['spec/**/*.spec.ts'],
  // Most specs use one core, or wait: two processes, each of which takes the next file. Files that are named run in one.
  parallel: !named,
  jobs: 2,
  // The slowest specs take a tenth of it on two cores; a machine that does much else takes several times as long.
  timeout: 180_000,
  reporter: 'dot',
};
