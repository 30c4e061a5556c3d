// What a cart costs. All amounts are whole pence.
export const FREE_DELIVERY_FROM = 3000;
const DELIVERY = 350;

const codes = {
  WELCOME10: { percent: 10, from: 0 },
  FRIDAY20: { percent: 20, from: 2500 },
};

export const pounds = (pence) => `${pence < 0 ? '−' : ''}£${(Math.abs(pence) / 100).toFixed(2)}`;
export const linePrice = (line) => line.product.price * line.quantity;

const subtotalOf = (lines) => lines.reduce((sum, line) => sum + linePrice(line), 0);
const deliveryFor = (subtotal) => (subtotal === 0 || subtotal >= FREE_DELIVERY_FROM ? 0 : DELIVERY);

/** Why a code cannot be used for a cart of this subtotal, or '' when it can. */
export function refusal(code, subtotal) {
  const known = codes[code];
  if (!known) return `We do not know the code “${code}”`;
  return subtotal < known.from ? `${code} is for carts from ${pounds(known.from)}` : '';
}

const percentOff = (code, subtotal) => (code && !refusal(code, subtotal) ? codes[code].percent : 0);

/** Subtotal, discount, delivery and total of the lines of a cart. */
export function totals(lines, code) {
  const subtotal = subtotalOf(lines);
  const discount = Math.round((subtotal * percentOff(code, subtotal)) / 100);
  const delivery = deliveryFor(subtotal);
  return { subtotal, discount, delivery, total: subtotal - discount + delivery };
}

/** What is paid at the door: the discounted price of every line, and delivery. */
export function amountDue(lines, code) {
  const subtotal = subtotalOf(lines);
  const percent = percentOff(code, subtotal);
  // The bug of this version, kept on purpose (see README.md): the discount is taken off the price
  // of one piece, and the quantity of the line is forgotten.
  const goods = lines.reduce((sum, { product }) => sum + Math.round((product.price * (100 - percent)) / 100), 0);
  return goods + deliveryFor(subtotal);
}
