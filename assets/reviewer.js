// Who sits at this browser, remembered by the browser itself: a reload asks nobody for their name again.

const PLACE = "fvm-reviewer";

export default function render({ data, setStateValue }) {
  try {
    if (data.keep) {
      localStorage.setItem(PLACE, data.keep);
    } else {
      const name = localStorage.getItem(PLACE);
      if (name) setStateValue("name", name);
    }
  } catch {
    // A browser that keeps nothing is asked again.
  }
}
