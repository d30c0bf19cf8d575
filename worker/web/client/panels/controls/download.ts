/** Saves content as a file of the user. */
export function saveFile(name: string, content: Blob): void {
  const url = URL.createObjectURL(content);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // The download has its own hold on the data by the next task.
  setTimeout(() => URL.revokeObjectURL(url), 0);
}

export function downloadBytes(name: string, content: Uint8Array): void {
  saveFile(name, new Blob([content.slice()]));
}
