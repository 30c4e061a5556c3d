// Making safe HTML, and the small pieces that several views show.
import { pounds } from './totals.js';

class Safe {
  constructor(text) {
    this.text = text;
  }
}

const signs = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

function piece(value) {
  if (value instanceof Safe) return value.text;
  if (Array.isArray(value)) return value.map(piece).join('');
  if (value === null || value === undefined || value === false) return '';
  return String(value).replace(/[&<>"']/g, (sign) => signs[sign]);
}

/** A template tag: what the template says is HTML, every value in it is text. */
export const html = (parts, ...values) =>
  new Safe(parts.reduce((text, part, i) => text + part + (i < values.length ? piece(values[i]) : ''), ''));

export function show(element, content) {
  element.innerHTML = piece(content);
}

export const art = (id, tint, more = '') =>
  html`<span class="art ${more}" style="--tint: ${tint}"><svg aria-hidden="true"><use href="art.svg#${id}"/></svg></span>`;

export const sum = (label, pence, id) => html`<div><dt>${label}</dt><dd data-testid="${id}">${pounds(pence)}</dd></div>`;

let timer;
export function toast(text) {
  const element = document.getElementById('toast');
  element.textContent = text;
  element.classList.add('up');
  clearTimeout(timer);
  timer = setTimeout(() => element.classList.remove('up'), 2500);
}

/** A labelled field with room for its error, tied together for screen readers. */
export const field = (name, label, attributes, value = '') => html`
  <div class="field">
    <label for="${name}">${label}</label>
    <input id="${name}" name="${name}" value="${value}" aria-describedby="${name}-error" ${attributes}>
    <p class="error" id="${name}-error" hidden></p>
  </div>`;

/** Shows the errors ({ field: text }) at their fields and moves to the first one. */
export function showErrors(form, errors) {
  for (const input of form.querySelectorAll('input')) {
    const text = errors[input.name];
    const line = form.querySelector(`#${input.name}-error`);
    if (!line) continue;
    input.setAttribute('aria-invalid', String(Boolean(text)));
    line.textContent = text || '';
    line.hidden = !text;
  }
  form.querySelector('[aria-invalid=true]')?.focus();
}
