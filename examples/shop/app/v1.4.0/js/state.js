// What this phone remembers: welcome seen, who is signed in, the cart, the orders. Kept in localStorage.
import { product } from './products.js';

const KEY = 'corner-shop';
const MOST = 20;

function load() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) || {};
  } catch {
    return {}; // a damaged memory must not keep the shop shut
  }
}

export const state = { welcomed: false, user: null, cart: {}, orders: [], ...load() };

export function save() {
  localStorage.setItem(KEY, JSON.stringify(state));
  document.dispatchEvent(new Event('shop:change'));
}

/** Sets how many of a product are in the cart, between 0 (out) and 20. */
export function setQuantity(id, quantity) {
  const n = Math.min(MOST, Math.max(0, quantity));
  if (n === 0) delete state.cart[id];
  else state.cart[id] = n;
  save();
}

export const quantityOf = (id) => state.cart[id] || 0;
export const itemCount = () => Object.values(state.cart).reduce((sum, n) => sum + n, 0);

/** The cart as lines of { product, quantity }; products that are no longer sold are left out. */
export function cartLines() {
  return Object.entries(state.cart)
    .map(([id, quantity]) => ({ product: product(id), quantity }))
    .filter((line) => line.product);
}
