const { test, expect } = require('@playwright/test');
const { openShop, addToCart, goTo } = require('./shop');

test.beforeEach(async ({ page }) => openShop(page));

async function checkOut(page) {
  await goTo(page, 'Cart');
  await page.getByRole('link', { name: 'Check out' }).click();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Checkout');
}

test('an order goes from the shelf to the thank-you page', async ({ page }) => {
  await test.step('fill the cart', async () => {
    await addToCart(page, 'Farmhouse cheddar', 'Sourdough loaf');
    await checkOut(page);
  });
  await test.step('say who and where', async () => {
    await page.getByLabel('Full name').fill('Ada Byron');
    await page.getByLabel('Email').fill('ada@example.com');
    await page.getByLabel('Street and house number').fill('12 St James Square');
    await page.getByLabel('Postcode').fill('sw1y 4jh');
    await page.getByLabel('Delivery time').selectOption('Tomorrow, 08:00 to 10:00');
    await page.getByRole('button', { name: 'Place order · £13.70' }).click();
  });
  await test.step('the order is there, the cart is empty', async () => {
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('Thank you, Ada');
    await expect(page.getByTestId('order-number')).toHaveText('CS-1001');
    await expect(page.getByTestId('order-total')).toHaveText('£13.70');
    await expect(page.getByTestId('slot')).toHaveText('Tomorrow, 08:00 to 10:00');
    await expect(page.getByTestId('cart-count')).toBeHidden();
  });
});

test('the total charges every piece in the cart', async ({ page }) => {
  await addToCart(page, 'Orchard apples', 'Orchard apples', 'Orchard apples');
  await checkOut(page);
  await test.step('3 × £2.40 and £3.50 delivery', async () => {
    await expect(page.getByTestId('subtotal')).toHaveText('£7.20');
    await expect(page.getByTestId('delivery')).toHaveText('£3.50');
    await expect(page.getByTestId('total')).toHaveText('£10.70', { timeout: 1_500 });
  });
});

test('a form with mistakes is not sent and says what to mend', async ({ page }) => {
  await addToCart(page, 'Dark chocolate');
  await checkOut(page);
  await page.getByLabel('Full name').fill('Ada Byron');
  await page.getByLabel('Email').fill('ada@nowhere');
  await page.getByLabel('Postcode').fill('12345');
  await page.getByRole('button', { name: 'Place order' }).click();

  await expect(page.getByText('Enter an email address like sam@example.com')).toBeVisible();
  await expect(page.getByText('Tell us the street and house number')).toBeVisible();
  await expect(page.getByText('Enter a postcode like SW1A 1AA')).toBeVisible();
  await expect(page.getByLabel('Email')).toBeFocused();
  await expect(page.getByLabel('Full name')).toHaveAttribute('aria-invalid', 'false');
  await expect(page).toHaveURL(/#\/checkout$/);
});
