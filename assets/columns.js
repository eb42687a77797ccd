// How many charts fit beside each other where this stands: said only when another number is laid out just now.

export default function render({ data, parentElement, setStateValue }) {
  const place = parentElement.host ?? parentElement;
  let said = data.columns;
  const look = () => {
    const width = place.getBoundingClientRect().width;
    if (!width) return;
    const columns = Math.max(1, Math.min(data.most, Math.floor(width / data.pixels)));
    if (columns !== said) setStateValue("columns", (said = columns));
  };
  const sizes = new ResizeObserver(look);
  sizes.observe(place);
  return () => sizes.disconnect();
}
