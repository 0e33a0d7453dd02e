/** The worker and all that it needs, as one module of JavaScript; `npm run build` makes it of worker.ts. */
export const WORKER_TEXT: string;
