/**
 * Node's own HTTP, the only door to it here. An `import` of `node:http` looks at each of its exports, and one of them loads
 * the whole of `fetch`, which nothing here uses: 2 MB of a process. Types may come from `node:http`.
 */
const http = process.getBuiltinModule("node:http");

export const { Agent, createServer, request, STATUS_CODES } = http;
