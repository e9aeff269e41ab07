// The one chunk that knows CodeMirror: loaded when an editor is on the page.
//
// The editor lives in a shadow root. CodeMirror then gives its styles as adopted style sheets, which our
// Content-Security-Policy allows; in the page itself it would need a <style> element.
import { acceptCompletion, autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap, completionStatus } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { HighlightStyle, bracketMatching, syntaxHighlighting } from "@codemirror/language";
import { type Diagnostic, linter, setDiagnostics } from "@codemirror/lint";
import { Compartment, EditorState, type Extension, Prec } from "@codemirror/state";
import { EditorView, drawSelection, keymap, placeholder } from "@codemirror/view";
import { tags } from "@lezer/highlight";

import type { Mark } from "./marks";

export interface Options {
  host: HTMLElement;
  value: string;
  label: string;
  placeholder: string;
  /** Enter alone runs it. */
  is_single: boolean;
  language: Extension;
  /** What the server says of a text while it is written. */
  check: ((text: string) => Promise<Mark | undefined>) | undefined;
  onchange: (value: string) => void;
  onrun: () => void;
  onmark: (message: string) => void;
}

export interface Handle {
  set_value(value: string): void;
  set_language(language: Extension): void;
  /** Underlines what an answer found wrong, until the text changes. */
  set_mark(mark: Mark | undefined): void;
  insert(text: string): void;
  focus(): void;
  destroy(): void;
}

const CHECK_AFTER_MS = 350;

/** A list of completions that has just come is not meant by a key that was already on its way. */
const ACCEPT_AFTER_MS = 75;

const COLOURS = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword, tags.modifier], color: "var(--accent)", fontWeight: "560" },
  { tag: [tags.function(tags.variableName), tags.standard(tags.name), tags.typeName], color: "var(--violet)" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--good)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--warn)" },
  { tag: [tags.comment, tags.lineComment, tags.blockComment], color: "var(--muted)", fontStyle: "italic" },
  { tag: [tags.labelName, tags.propertyName], color: "var(--text)" },
]);

const THEME = EditorView.theme({
  "&": { fontSize: "0.9rem", color: "var(--text)", background: "transparent", maxHeight: "50vh" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.5", fontVariantLigatures: "none", overflow: "auto" },
  ".cm-content": { padding: "0.35rem 0", caretColor: "var(--text)", minHeight: "calc(var(--rows, 1) * 1.5em + 0.7rem)" },
  ".cm-line": { padding: "0 0.6rem" },
  ".cm-placeholder": { color: "var(--muted)" },
  ".cm-cursor": { borderLeftColor: "var(--text)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": { background: "var(--accent-soft)" },
  "&.cm-focused .cm-matchingBracket": { background: "var(--accent-soft)", outline: "1px solid var(--accent)" },
  "&.cm-focused .cm-nonmatchingBracket": { background: "var(--error-soft)" },
  ".cm-tooltip": { background: "var(--raised)", color: "var(--text)", border: "1px solid var(--line)", borderRadius: "8px", boxShadow: "var(--shadow)", overflow: "hidden" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { fontFamily: "var(--mono)", fontSize: "0.86rem", maxHeight: "16rem", maxWidth: "min(40rem, 90vw)" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "0.2rem 0.6rem" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { background: "var(--accent-soft)", color: "var(--text)" },
  ".cm-completionIcon": { display: "none" },
  ".cm-completionMatchedText": { textDecoration: "none", color: "var(--accent)", fontWeight: "600" },
  ".cm-completionDetail": { color: "var(--muted)", fontStyle: "normal", marginLeft: "0.8rem" },
  ".cm-completionInfo": { padding: "0.4rem 0.6rem", fontFamily: "var(--sans)", fontSize: "0.86rem", maxWidth: "22rem" },
  ".cm-diagnostic": { padding: "0.3rem 0.6rem", fontFamily: "var(--sans)", fontSize: "0.86rem", borderLeft: "3px solid var(--error)" },
  // CodeMirror draws these with data: images, which the policy forbids.
  ".cm-lintRange-error, .cm-lintRange-warning, .cm-lintRange-info, .cm-lintRange-hint": { backgroundImage: "none", paddingBottom: "0" },
  ".cm-lintRange-error": { textDecoration: "underline wavy var(--error)", textUnderlineOffset: "3px", textDecorationSkipInk: "none" },
  ".cm-lintPoint-error:after": { borderBottomColor: "var(--error)" },
});

/**
 * Chrome keeps the look of text that is written over by an element with a style attribute, which CodeMirror takes away again
 * and the policy reports. So what is selected is replaced by CodeMirror itself.
 */
const WRITE_OVER = EditorView.domEventHandlers({
  beforeinput(event, view) {
    const { from, to, empty } = view.state.selection.main;
    const text = event.data;
    if (empty || event.inputType !== "insertText" || !text || event.isComposing || view.state.readOnly) return false;
    event.preventDefault();
    const insert = () => view.state.update({ ...view.state.replaceSelection(text), userEvent: "input.type" });
    // What closes brackets and the like has its say, as with every other letter.
    if (!view.state.facet(EditorView.inputHandler).some((handler) => handler(view, from, to, text, insert))) view.dispatch(insert());
    return true;
  },
});

function diagnostic(mark: Mark, length: number): Diagnostic {
  const from = Math.max(0, Math.min(mark.from, length));
  return { from, to: Math.max(from, Math.min(mark.to, length)), severity: "error", message: mark.message };
}

/** Takes the chosen completion. Who was faster than the list may be accepted gets it a moment later, and stays in the editor. */
function take_completion(view: EditorView): boolean {
  if (acceptCompletion(view)) return true;
  if (completionStatus(view.state) !== "active") return false;
  const { doc } = view.state;
  setTimeout(() => view.state.doc === doc && acceptCompletion(view), ACCEPT_AFTER_MS);
  return true;
}

export function mount(options: Options): Handle {
  const root = options.host.shadowRoot ?? options.host.attachShadow({ mode: "open" });
  const language = new Compartment();
  const run = () => { options.onrun(); return true; };
  const check = options.check;
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: options.value,
      extensions: [
        // Above what the languages and completions bind.
        Prec.highest(keymap.of([
          { key: "Mod-Enter", run },
          ...(options.is_single ? [{ key: "Enter", run: (view: EditorView) => acceptCompletion(view) || run() }] : []),
        ])),
        // Tab takes an open completion and else leaves, as everywhere on the page.
        keymap.of([{ key: "Tab", run: take_completion }, ...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap, ...completionKeymap]),
        history(), drawSelection(), bracketMatching(), closeBrackets(),
        autocompletion({ icons: false, maxRenderedOptions: 60, interactionDelay: ACCEPT_AFTER_MS }),
        syntaxHighlighting(COLOURS), THEME, WRITE_OVER, EditorView.lineWrapping,
        placeholder(options.placeholder),
        EditorView.contentAttributes.of({ "aria-label": options.label, autocapitalize: "off", autocorrect: "off", spellcheck: "false" }),
        EditorView.updateListener.of((update) => {
          if (!update.docChanged) return;
          options.onmark("");
          options.onchange(update.state.doc.toString());
        }),
        linter(check ? async (asked) => {
          const text = asked.state.doc.toString();
          const mark = text.trim() ? await check(text) : undefined;
          // What was written meanwhile is checked next.
          if (asked.state.doc.toString() !== text) return [];
          options.onmark(mark?.message ?? "");
          return mark ? [diagnostic(mark, text.length)] : [];
        } : null, { delay: CHECK_AFTER_MS }),
        language.of(options.language),
      ],
    }),
  });
  return {
    set_value(value) {
      if (value === view.state.doc.toString()) return;
      view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: value }, selection: { anchor: value.length } });
    },
    set_language(extension) { view.dispatch({ effects: language.reconfigure(extension) }); },
    set_mark(mark) { view.dispatch(setDiagnostics(view.state, mark ? [diagnostic(mark, view.state.doc.length)] : [])); },
    insert(text) {
      view.dispatch(view.state.replaceSelection(text));
      view.focus();
    },
    focus() { view.focus(); },
    destroy() { view.destroy(); },
  };
}
