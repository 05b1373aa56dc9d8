/** Colours of `styleText`, by their SGR codes. */
const STYLES: Readonly<Record<string, string>> = {
  '1': 'font-weight:700;color:#f0f4f8',
  '2': 'color:#8593a5',
  '31': 'color:#ff8a80',
  '32': 'color:#5fd38d',
  '33': 'color:#f0b429',
  '36': 'color:#45c1d9',
};

// biome-ignore lint/suspicious/noControlCharactersInRegex: it is what terminals are told by
const SGR = /\u001b\[(\d*)m/;

/** A page that shows a command and what it printed, colours included, as a terminal would. */
export function terminalPage(command: string, output: string): string {
  return `<!doctype html><meta charset="utf-8"><style>
    body { margin: 0; background: #0d1117 }
    main { padding: 18px 22px 20px; background: #0d1117; color: #d3dae3; width: max-content; min-width: 780px;
      font: 14px/1.42 "DejaVu Sans Mono", ui-monospace, monospace }
    pre { margin: 0; font: inherit }
  </style><main><pre><span style="color:#8593a5">$ </span><b>${asHtml(command)}</b>\n${styled(output)}</pre></main>`;
}

function styled(text: string): string {
  const parts = text.split(SGR);
  let open: string | undefined;
  return parts
    .map((part, index) => {
      if (index % 2 === 0) return open === undefined ? asHtml(part) : `<span style="${open}">${asHtml(part)}</span>`;
      open = STYLES[part];
      return '';
    })
    .join('');
}

function asHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
