//! `/`: the page and what belongs to it. It is the same for every gateway and holds nothing of this
//! one: what it shows comes from `/events`, which is guarded like everything else.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};

/// Nothing from elsewhere, nothing inline, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'";

/// The files: path, kind, text.
const FILES: [(&str, &str, &str); 5] = [
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    ("/page.js", "text/javascript; charset=utf-8", include_str!("page/page.js")),
    ("/plot.js", "text/javascript; charset=utf-8", include_str!("page/plot.js")),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
];

/// Whether `path` is one of the page's files, which need no token.
pub(super) fn is_file(path: &str) -> bool {
    FILES.iter().any(|(name, ..)| *name == path)
}

/// The file at `path`.
pub(super) fn file(path: &str) -> Option<Response> {
    let (_, kind, text) = FILES.iter().find(|(name, ..)| *name == path)?;
    let mut response = ([(CONTENT_TYPE, *kind)], *text).into_response();
    let fixed = [("content-security-policy", POLICY), ("referrer-policy", "no-referrer")];
    for (name, value) in fixed {
        let name = HeaderName::from_static(name);
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_small_and_names_nothing_elsewhere() {
        let bytes: usize = FILES.iter().map(|(_, _, text)| text.len()).sum();
        assert!(bytes < 48 << 10, "{bytes} bytes");
        for (path, _, text) in FILES {
            let links = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!links.contains("://"), "{path}");
            for inline in ["<style", "style=", "onclick", "onload", "innerHTML", "eval("] {
                assert!(!text.contains(inline), "{path}: {inline}");
            }
        }
    }

    /// Relative luminance of `#rgb` or `#rrggbb` (WCAG 2).
    fn luminance(colour: &str) -> f64 {
        let digits: Vec<u32> = colour.chars().filter_map(|c| c.to_digit(16)).collect();
        let channel = |nth: usize| match digits.len() {
            3 => digits[nth] * 17,
            _ => digits[2 * nth] * 16 + digits[2 * nth + 1],
        };
        let linear = |nth| match f64::from(channel(nth)) / 255.0 {
            low if low <= 0.04045 => low / 12.92,
            high => ((high + 0.055) / 1.055).powf(2.4),
        };
        0.2126 * linear(0) + 0.7152 * linear(1) + 0.0722 * linear(2)
    }

    #[test]
    fn text_can_be_read_light_and_dark() {
        let css = FILES[1].2;
        let schemes: Vec<&str> = css.split(":root {").skip(1).collect();
        assert_eq!(schemes.len(), 2);
        for scheme in schemes {
            let colour = |name: &str| {
                let rest = scheme.split(&format!("--{name}: ")).nth(1).expect(name);
                luminance(rest.split(';').next().unwrap())
            };
            for back in ["back", "card"] {
                for text in ["text", "quiet", "good", "waits", "bad", "none", "in", "out", "depth"]
                {
                    let (a, b) = (colour(text), colour(back));
                    let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                    assert!(contrast >= 4.5, "{text} on {back}: {contrast:.2}");
                }
            }
        }
    }

    #[test]
    fn what_the_page_asks_for_is_there() {
        let html = FILES[0].2;
        let asked = html.split(['"']).filter(|part| part.starts_with('/'));
        assert_eq!(asked.filter(|path| is_file(path)).count(), FILES.len() - 1);
        assert!(file("/").is_some() && file("/other").is_none());
    }
}
