// What a cart costs. All amounts are whole pence.
export const FREE_DELIVERY_FROM = 3000;
const DELIVERY = 350;

export const pounds = (pence) => `£${(pence / 100).toFixed(2)}`;
export const linePrice = (line) => line.product.price * line.quantity;

/** Subtotal, delivery and total of the lines of a cart. */
export function totals(lines) {
  const subtotal = lines.reduce((sum, line) => sum + linePrice(line), 0);
  const delivery = subtotal === 0 || subtotal >= FREE_DELIVERY_FROM ? 0 : DELIVERY;
  return { subtotal, delivery, total: subtotal + delivery };
}
