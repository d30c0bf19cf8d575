/**
 * Node's HTTP module; all code here must use it through this file. An `import` of `node:http` evaluates each of its exports,
 * and one of them loads `fetch`, which nothing here uses: 2 MB per process. Types may be imported from `node:http`.
 */
const http = process.getBuiltinModule("node:http");

export const { Agent, createServer, request, STATUS_CODES } = http;
