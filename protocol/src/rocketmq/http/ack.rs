//! Acknowledge: the request with receipt handles, and the answer when some of them failed.

use super::xml::{self, Element, XmlError};

/// A handle that was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AckFailure {
    /// Code, such as `ReceiptHandleError`.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// The handle.
    pub handle: String,
}

/// The request's body.
pub fn request_xml(handles: &[impl AsRef<str>]) -> String {
    xml::document("ReceiptHandles", |out| {
        for handle in handles {
            xml::push_field(out, "ReceiptHandle", handle.as_ref());
        }
    })
}

/// Reads a request's body; an empty list of handles is one.
pub fn parse_request(text: &str) -> Result<Vec<String>, XmlError> {
    let root = Element::parse(text, "ReceiptHandles")?;
    let handles = root.children.into_iter();
    let handles = handles.filter(|child| child.name == "ReceiptHandle");
    Ok(handles.map(|child| child.text.trim().to_owned()).filter(|h| !h.is_empty()).collect())
}

/// The answer's body when some handles failed (status 404).
pub fn failures_xml(failures: &[AckFailure]) -> String {
    xml::answer("Errors", |out| {
        for failure in failures {
            out.push_str("<Error>");
            xml::push_field(out, "ErrorCode", &failure.code);
            xml::push_field(out, "ErrorMessage", &failure.message);
            xml::push_field(out, "ReceiptHandle", &failure.handle);
            out.push_str("</Error>");
        }
    })
}

/// Reads the failures of an answer.
pub fn parse_failures(text: &str) -> Result<Vec<AckFailure>, XmlError> {
    let root = Element::parse(text, "Errors")?;
    let errors = root.children.iter().filter(|child| child.name == "Error");
    errors
        .map(|error| {
            Ok(AckFailure {
                code: error.required("ErrorCode")?.to_owned(),
                message: error.field("ErrorMessage").unwrap_or_default().to_owned(),
                handle: error.required("ReceiptHandle")?.to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_read_from_entities_and_cdata() {
        assert_eq!(parse_request(&request_xml(&["a<b", "c"])).unwrap(), ["a<b", "c"]);
        let node = "<ReceiptHandles><ReceiptHandle><![CDATA[h1]]></ReceiptHandle></ReceiptHandles>";
        assert_eq!(parse_request(node).unwrap(), ["h1"]);
        assert!(parse_request(&request_xml(&[""; 0])).unwrap().is_empty());
        assert!(parse_request("<Other/>").is_err());
    }

    #[test]
    fn failures_name_code_and_handle() {
        let failures = [AckFailure {
            code: "ReceiptHandleError".into(),
            message: "expired".into(),
            handle: "h1".into(),
        }];
        assert_eq!(parse_failures(&failures_xml(&failures)).unwrap(), failures);
    }
}
