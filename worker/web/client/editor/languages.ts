/** Syntax highlighting by file name. Each language is a chunk of its own, loaded when the first file needs it. */
import { LanguageDescription, type LanguageSupport } from "@codemirror/language";
import { languages } from "@codemirror/language-data";
import { nameOf } from "../files/paths.ts";

/** Undefined when no language is known for the name, or its chunk cannot be loaded: the text is shown without colors. */
export async function languageFor(path: string): Promise<LanguageSupport | undefined> {
  const found = LanguageDescription.matchFilename(languages, nameOf(path));
  try {
    return await found?.load();
  } catch {
    return undefined;
  }
}
