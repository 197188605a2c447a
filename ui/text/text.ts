// Which language the page speaks, and how a text is filled in.

import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { TextKey } from "./en.ts";
import { en } from "./en.ts";
import { zh } from "./zh.ts";

/** The page's languages. */
export type Language = "en" | "zh";

/** Fills a text in. Numbers are written as the language writes them. */
export type Translate = (
  key: TextKey,
  values?: Readonly<Record<string, string | number>>,
) => string;

const languageKey = "galaxy-language";

/** What was chosen here before, else the browser's. */
export function initialLanguage(): Language {
  const kept = localStorage.getItem(languageKey);
  if (kept === "en" || kept === "zh") return kept;
  return navigator.language.startsWith("zh") ? "zh" : "en";
}

/** Remembers the choice in this browser. */
export function keepLanguage(language: Language): void {
  localStorage.setItem(languageKey, language);
}

/** The texts of a language. */
export function translator(language: Language): Translate {
  const texts: Readonly<Record<TextKey, string>> = language === "zh" ? zh : en;
  const numbers = new Intl.NumberFormat(language);
  return (key, values = {}) =>
    texts[key].replaceAll(/\{(\w+)\}/g, (whole, name: string) => {
      const value = values[name];
      if (value === undefined) return whole;
      return typeof value === "number" ? numbers.format(value) : value;
    });
}

/** The translator of the page. */
export const TextContext = createContext<Translate>(translator("en"));

/** The translator of the page. */
export function useText(): Translate {
  return useContext(TextContext);
}
