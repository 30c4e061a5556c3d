// What the shop sells. Prices are whole pence, so that sums never lose a penny to rounding.
export const categories = ['Fruit & veg', 'Bakery', 'Dairy', 'Pantry', 'Home'];

export const products = [
  { id: 'apples', name: 'Orchard apples', unit: '6 pack', price: 240, category: 'Fruit & veg', tint: '#fbe4df', about: 'Crisp, red and a little sharp. Picked in Kent, best from the fridge.' },
  { id: 'lemons', name: 'Unwaxed lemons', unit: '4 pack', price: 180, category: 'Fruit & veg', tint: '#fdf4d3', about: 'Thin skins and plenty of juice. Good for cakes, fish and tea.' },
  { id: 'carrots', name: 'Bunched carrots', unit: '500 g', price: 130, category: 'Fruit & veg', tint: '#fdeadb', about: 'Sweet summer carrots with their tops on. Roast them whole.' },
  { id: 'bread', name: 'Sourdough loaf', unit: '800 g', price: 395, category: 'Bakery', tint: '#f6e8d6', about: 'Baked this morning with a slow two-day dough and a dark crust.' },
  { id: 'buns', name: 'Cinnamon buns', unit: '2 pack', price: 450, category: 'Bakery', tint: '#f3e3d3', about: 'Soft, sticky and rolled by hand. Warm them for five minutes.' },
  { id: 'milk', name: 'Whole milk', unit: '1 litre', price: 155, category: 'Dairy', tint: '#e3eef5', about: 'From one herd in Somerset, in a bottle that you can bring back.' },
  { id: 'cheese', name: 'Farmhouse cheddar', unit: '350 g', price: 625, category: 'Dairy', tint: '#fcf1cd', about: 'Aged for fourteen months in cloth. Strong, with a bit of crunch.' },
  { id: 'eggs', name: 'Free-range eggs', unit: '6 pack', price: 285, category: 'Dairy', tint: '#e8efec', about: 'Large eggs from hens that live outside.' },
  { id: 'coffee', name: 'House coffee beans', unit: '250 g', price: 875, category: 'Pantry', tint: '#efe4da', about: 'Roasted round the corner: chocolate, hazelnut, no bitterness.' },
  { id: 'honey', name: 'City honey', unit: '340 g', price: 720, category: 'Pantry', tint: '#fcefd0', about: 'From hives on the roofs of the town. Runny, with lime blossom.' },
  { id: 'chocolate', name: 'Dark chocolate', unit: '100 g', price: 360, category: 'Pantry', tint: '#f3e0e6', about: 'Seventy per cent cocoa and a pinch of sea salt.' },
  { id: 'soap', name: 'Lavender soap', unit: '120 g', price: 410, category: 'Home', tint: '#ece6f5', about: 'Made with olive oil, wrapped in paper. No plastic anywhere.' },
];

export const product = (id) => products.find((p) => p.id === id);

/** The products whose name, category or description holds every word of the query. */
export function find(query, category) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  return products.filter((p) => {
    const text = `${p.name} ${p.category} ${p.about}`.toLowerCase();
    return (!category || p.category === category) && words.every((word) => text.includes(word));
  });
}
