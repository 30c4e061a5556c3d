// Who gets it, where, when; then the order is placed.
import { html, show, sum, field, showErrors } from '../page.js';
import { state, save, cartLines } from '../state.js';
import { totals, pounds } from '../totals.js';

const slots = ['Today, 17:00 to 19:00', 'Today, 19:00 to 21:00', 'Tomorrow, 08:00 to 10:00'];

/** The errors of the form as { field: text }; empty when all is well. */
function check({ name, email, street, postcode }) {
  const errors = {};
  if (!name) errors.name = 'Tell us your name';
  if (!/^[^\s@]+@[^\s@]+\.[^\s@]+$/.test(email)) errors.email = 'Enter an email address like sam@example.com';
  if (!street) errors.street = 'Tell us the street and house number';
  if (!/^[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}$/i.test(postcode)) errors.postcode = 'Enter a postcode like SW1A 1AA';
  return errors;
}

function place(values, lines, total) {
  const number = `CS-${1001 + state.orders.length}`;
  const bought = lines.map(({ product, quantity }) => ({ name: product.name, quantity }));
  state.orders.push({ number, total, slot: values.slot, name: values.name, email: values.email, lines: bought });
  state.cart = {};
  save();
  location.hash = `#/order/${number}`;
}

export function checkout(root) {
  const lines = cartLines();
  if (lines.length === 0) return location.replace('#/cart');
  const { subtotal, delivery, total } = totals(lines);
  const user = state.user || { name: '', email: '' };

  show(root, html`
    <h1>Checkout</h1>
    <dl class="sums" aria-label="What you pay">
      ${sum('Subtotal', subtotal, 'subtotal')}
      ${sum('Delivery', delivery, 'delivery')}
      <div class="total"><dt>Total</dt><dd data-testid="total">${pounds(total)}</dd></div>
    </dl>
    <form novalidate>
      ${field('name', 'Full name', html`autocomplete="name"`, user.name)}
      ${field('email', 'Email', html`type="email" autocomplete="email"`, user.email)}
      ${field('street', 'Street and house number', html`autocomplete="street-address"`)}
      ${field('postcode', 'Postcode', html`autocomplete="postal-code" autocapitalize="characters"`)}
      <div class="field"><label for="slot">Delivery time</label>
        <select id="slot" name="slot">${slots.map((slot) => html`<option>${slot}</option>`)}</select></div>
      <p class="hint field">You pay at the door, by card or cash.</p>
      <button class="main">Place order · ${pounds(total)}</button>
    </form>`);

  const form = root.querySelector('form');
  form.onsubmit = (event) => {
    event.preventDefault();
    const values = Object.fromEntries([...new FormData(form)].map(([key, value]) => [key, value.trim()]));
    const errors = check(values);
    showErrors(form, errors);
    if (Object.keys(errors).length === 0) place(values, lines, total);
  };
}
