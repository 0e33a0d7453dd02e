/** @file Lint rules: typescript-eslint's typed rules, and the import directions between the folders of lib/. */
import {fileURLToPath} from 'node:url';
import js from '@eslint/js';
import {defineConfig, globalIgnores} from 'eslint/config';
import tseslint from 'typescript-eslint';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/**
 * The folders of lib/ in layers: a file may import from its own layer and from those above it in this list,
 * never from one below.
 */
const LAYERS = [
  ['errors', 'option-rules', 'percent', 'warnings'],
  ['tfjs', 'tensor-values', 'stats', 'quantization'],
  ['kernels'],
  ['layers'],
  ['scope', 'dataset', 'model'],
  ['calibration', 'allocation', 'io', 'backend'],
  ['sparsify', 'compress', 'retarget', 'allocate', 'eval'],
  ['serve', 'report', 'cli'],
];

/** Where Node's modules may be used; everything else also runs in browsers. */
const NODE_ONLY = [
  ...['lib/backend/**', 'lib/io/**', 'lib/cli/**', 'lib/serve/**', 'lib/node.ts'],
  'lib/kernels/tensorflow.ts',
];

const noNodeModules = {
  group: ['node:*', '#provision'],
  message: `it does not exist in browsers: only ${NODE_ONLY.join(', ')} may import it`,
};

/** For each layer: what its files must not import. */
const directions = LAYERS.flatMap((layer, index) => {
  const below = LAYERS.slice(index + 1).flat();
  const upward = {
    regex: `^(\\.\\./)+(${below.join('|')})(/|\\.js$)|^\\./(${below.join('|')})(/|\\.js$)`,
    message: `${layer.join(', ')} must not import from what is built on it: see the layers in this file`,
  };
  return layer.flatMap((name) => {
    const files = [`lib/${name}.ts`, `lib/${name}/**/*.ts`];
    const own = below.length === 0 ? [] : [upward];
    const inNode = NODE_ONLY.flatMap((place) => files.map((file) => [file, place]));
    return [
      {files, rules: {'no-restricted-imports': ['error', {patterns: [...own, noNodeModules]}]}},
      {files: inNode, rules: {'no-restricted-imports': ['error', {patterns: own}]}},
    ];
  });
});

export default defineConfig(
  {basePath: ROOT},
  globalIgnores(['dist/', 'dist-*/', 'coverage/', 'docs/', 'mutants/', 'node_modules/', 'spec/fixtures/']),
  {
    files: ['**/*.ts'],
    extends: [js.configs.recommended, tseslint.configs.recommendedTypeChecked],
    languageOptions: {parserOptions: {projectService: true, tsconfigRootDir: ROOT}},
    rules: {
      '@typescript-eslint/consistent-type-imports': ['error', {fixStyle: 'inline-type-imports'}],
      '@typescript-eslint/no-unused-vars': ['error', {argsIgnorePattern: '^_', varsIgnorePattern: '^_'}],
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        {allowNumber: true, allowNullish: true, allowArray: true},
      ],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', {considerDefaultExhaustiveForUnions: true}],
      'no-restricted-imports': ['error', {patterns: [noNodeModules]}],
      'no-restricted-syntax': [
        'error',
        {selector: 'TSAsExpression > TSNeverKeyword', message: 'no `as never`: name the type'},
      ],
      eqeqeq: 'error',
    },
  },
  ...directions,
  {
    files: [
      'lib/node.ts',
      'spec/**/*.ts',
      'scripts/**/*.ts',
      'models/digits/*.ts',
      'models/*/import/**/*.ts',
      'models/llama/load-language-model.ts',
    ],
    rules: {'no-restricted-imports': 'off'},
  },
  {
    // chai's assertions are property reads: expect(x).to.be.true.
    files: ['spec/**/*.ts'],
    rules: {'@typescript-eslint/no-unused-expressions': 'off'},
  },
  {
    files: ['**/*.mjs', '**/*.cjs'],
    extends: [js.configs.recommended],
    languageOptions: {
      globals: {
        module: 'readonly',
        process: 'readonly',
        console: 'readonly',
        URL: 'readonly',
        fetch: 'readonly',
        AbortController: 'readonly',
        AbortSignal: 'readonly',
        performance: 'readonly',
        setTimeout: 'readonly',
        clearTimeout: 'readonly',
        setInterval: 'readonly',
        clearInterval: 'readonly',
      },
    },
  },
);
