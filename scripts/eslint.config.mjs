/** @file Lint rules: typescript-eslint's typed rules, and the order of the rooms of lib/. */
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import js from '@eslint/js';
import {defineConfig, globalIgnores} from 'eslint/config';
import tseslint from 'typescript-eslint';
import {downward} from './lint-rooms.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/**
 * The rooms of lib/ from the ground up, one a row: a file imports from its own room and from those before it, so no two
 * rooms import each other. A room within a room, such as language/config, comes before the files beside it.
 */
const ROOMS = [
  'errors',
  'option-rules',
  'percent',
  'plain-object',
  'warnings',
  'event-loop',
  'io/files',
  'io/web',
  'provision',
  'tfjs',
  'tensor-values',
  'stats',
  'quantization',
  'kernels',
  'wasm',
  'layers',
  'scope',
  'dataset',
  'model',
  'metadata',
  'calibration',
  'compression',
  'allocation',
  'io/data',
  'io/model',
  'backend',
  'sparsify',
  'compress',
  'eval',
  'allocate',
  'model-in-format',
  'allocate-formats',
  'index',
  'language/tokenizer',
  'language/config',
  'language/graph',
  'language/weights',
  'language/import',
  'language/decoding',
  'language/evaluation',
  'language',
  'language/page',
  'language/browser',
  'language/index',
  'report',
  'node',
  'serve',
  'cli',
];

/** Where Node's modules may be used; everything else also runs in browsers. */
const NODE_ONLY = [
  'lib/provision/**',
  'lib/backend/**',
  'lib/io/data/**',
  'lib/io/files/{atomic-file,byte-reader,check-file-path,file-chunks,file-hash,local-file,local-folder,make-folder,read-text}.ts',
  'lib/io/model/{file-system,hash-model,http-model,model-files,model-writer,shard-writer}.ts',
  'lib/language/import/{download,fetch,hub,open-checkpoint}.ts',
  'lib/language/load-language-model.ts',
  'lib/serve/**',
  'lib/cli/**',
  'lib/node.ts',
  'lib/kernels/tensorflow-backend.ts',
];

const noNodeModules = {
  group: ['node:*', '**/provision/**'],
  message: `it does not exist in browsers: only ${NODE_ONLY.join(', ')} may import it`,
};

export default defineConfig(
  {basePath: ROOT},
  globalIgnores(['dist/', 'dist-*/', 'coverage/', 'docs/', 'mutants/', 'node_modules*/', 'spec/fixtures/']),
  {
    files: ['**/*.ts'],
    extends: [js.configs.recommended, tseslint.configs.strictTypeChecked],
    languageOptions: {parserOptions: {projectService: true, tsconfigRootDir: ROOT}},
    rules: {
      '@typescript-eslint/consistent-type-imports': ['error', {fixStyle: 'inline-type-imports'}],
      '@typescript-eslint/no-unused-vars': ['error', {argsIgnorePattern: '^_', varsIgnorePattern: '^_'}],
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        {allowNumber: true, allowNullish: true, allowArray: true},
      ],
      // Elements of arrays and of maps have the type of what is there (tsconfig.json says why), so these two cannot tell a
      // test or an assertion that is needed from one that is not.
      '@typescript-eslint/no-unnecessary-condition': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
      // Its question, whether an object is more than an interface, is asked of every tensor that is cast.
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      '@typescript-eslint/no-confusing-void-expression': [
        'error',
        {ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true},
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
  {
    files: ['lib/**/*.ts'],
    plugins: {rooms: {rules: {downward}}},
    rules: {'rooms/downward': ['error', {lib: join(ROOT, 'lib'), rooms: ROOMS}]},
  },
  {
    files: [...NODE_ONLY, 'spec/**/*.ts', 'scripts/**/*.ts', 'models/**/*.ts'],
    rules: {'no-restricted-imports': 'off'},
  },
  {
    // chai's assertions are property reads: expect(x).to.be.true.
    files: ['spec/**/*.ts'],
    rules: {
      '@typescript-eslint/no-unused-expressions': 'off',
      // Specs catch what they know to be thrown, set and delete variables of the environment, and take a text apart.
      '@typescript-eslint/no-dynamic-delete': 'off',
      '@typescript-eslint/no-misused-spread': 'off',
      '@typescript-eslint/no-unnecessary-type-parameters': 'off',
      '@typescript-eslint/no-unsafe-enum-assignment': 'off',
      '@typescript-eslint/use-unknown-in-catch-callback-variable': 'off',
    },
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
