// Signing in and out, and past orders. The demo account lives in the page: there is no server.
import { html, show, field, showErrors } from '../page.js';
import { state, save } from '../state.js';
import { pounds } from '../totals.js';

const demo = { name: 'Sam', email: 'sam@example.com', password: 'corner-shop' };

function signedIn(root) {
  show(root, html`
    <div class="stack">
      <h1>Hello, ${state.user.name}</h1>
      <p class="hint">${state.user.email}</p>
      <h2>Your orders</h2>
      ${state.orders.length
        ? html`<dl class="sums" aria-label="Orders">${state.orders.map((o) => html`
            <div><dt><a href="#/order/${o.number}">${o.number}</a></dt><dd>${pounds(o.total)}</dd></div>`)}</dl>`
        : html`<p class="notice">No orders yet.</p>`}
      <button data-out>Sign out</button>
    </div>`);
  root.querySelector('[data-out]').onclick = () => {
    state.user = null;
    save();
    account(root);
  };
}

export function account(root) {
  if (state.user) return signedIn(root);
  show(root, html`
    <h1>Sign in</h1>
    <p class="hint field">Demo account: sam@example.com, password corner-shop</p>
    <p class="notice bad field" role="alert" hidden></p>
    <form novalidate>
      ${field('email', 'Email', html`type="email" autocomplete="username"`)}
      ${field('password', 'Password', html`type="password" autocomplete="current-password"`)}
      <button class="main">Sign in</button>
    </form>`);

  const form = root.querySelector('form');
  const alert = root.querySelector('[role=alert]');
  form.onsubmit = (event) => {
    event.preventDefault();
    const { email, password } = Object.fromEntries(new FormData(form));
    const errors = {};
    if (!email.includes('@')) errors.email = 'Enter your email address';
    if (password.length < 8) errors.password = 'A password has at least 8 characters';
    showErrors(form, errors);
    alert.hidden = true;
    if (Object.keys(errors).length) return;
    if (email.toLowerCase() !== demo.email || password !== demo.password) {
      alert.textContent = 'Email and password do not match.';
      alert.hidden = false;
      return;
    }
    state.user = { name: demo.name, email: demo.email };
    save();
    account(root);
  };
}
