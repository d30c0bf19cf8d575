/** What a new scratch workspace contains. */

const README = `# A scratch workspace

You share this workspace with everyone in the session. Open a file and type: the others see it at once.

- It is kept in this browser only. Download it as a zip to keep it longer than a month.
- Invite others with the **Share** button. You decide who comes in.
- To work on a real project, start a session with a folder, or from your IDE.

Try it: open this page's invitation in a second tab, join with another name, and type in both.
`;

const HELLO = `// Edit this together.

export function greet(names) {
  return names.map((name) => \`Hello, \${name}!\`).join("\\n");
}

console.log(greet(["Ada", "Grace", "you"]));
`;

export const STARTER_FILES: readonly { readonly name: string; readonly text: string }[] = [
  { name: "README.md", text: README },
  { name: "hello.js", text: HELLO },
];
